"""Which parameters are trained; the others are frozen, and cost no backward work.

all           every parameter
last:N        those of the last N layers that have any
bias-only     those with one axis: biases, and scales of normalizations
lora:R        small layers of rank R beside the frozen ones (`export.transforms.lora`)
PATTERN       names that match, as in 'conv2.*' or 'output.weight' (shell wildcards)
"""

from dataclasses import replace
from fnmatch import fnmatchcase

from export.errors import ExportError
from export.model import Model
from export.transforms import batch_norm, lora


def select(model: Model, spec: str, *, seed: int = 0) -> Model:
    """The model with only the parameters named by `spec` trainable.

    Raises:
        ExportError: none matches, or N is no number of layers the model has, or R no rank.
    """
    if spec.startswith("lora:"):
        rank = spec.removeprefix("lora:")
        return batch_norm.select(lora.adapt(model, int(rank) if rank.isdecimal() else 0, seed=seed), "as-is")
    if spec == "all":
        chosen = list(model.parameters)
    elif spec.startswith("last:"):
        chosen = _last(model, spec)
    elif spec == "bias-only":
        chosen = [name for name, value in model.parameters.items() if value.ndim == 1 and name not in model.statistics]
    else:
        chosen = [name for name in model.parameters if fnmatchcase(name, spec)]
    if not chosen:
        raise ExportError(f"--train {spec} matches no parameter; there are: {', '.join(model.parameters)}")
    return batch_norm.select(replace(model, trainable=frozenset(chosen)), "as-is")


def _last(model: Model, spec: str) -> list[str]:
    layers = [[x for x in node.input if x in model.parameters] for node in model.nodes]
    layers = [names for names in layers if names]
    number = spec.removeprefix("last:")
    if not number.isdecimal() or not 0 < int(number) <= len(layers):
        raise ExportError(f"--train {spec}: expected last:N with N from 1 to {len(layers)}, the layers with parameters")
    return [name for names in layers[-int(number) :] for name in names]
