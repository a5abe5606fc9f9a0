"""Choose which parameters are trained; the others are frozen, and cost no backward work.

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
    """Train only some parameters.

    Args:
        model: the model.
        spec: all, last:N, bias-only, lora:R or a pattern.
        seed: of initial values, for lora.

    Returns:
        The model with only these parameters trainable.

    Raises:
        ExportError: nothing matches, or N or R is not a number that the model allows.
    """
    if spec.startswith("lora:"):
        rank = spec.removeprefix("lora:")
        adapted = lora.adapt(model, int(rank) if rank.isdecimal() else 0, seed=seed)
        return batch_norm.select(adapted, "as-is")
    chosen = _chosen(model, spec)
    if not chosen:
        raise ExportError(f"--train {spec} matches no parameter; there are: {', '.join(model.parameters)}")
    return batch_norm.select(replace(model, trainable=frozenset(chosen)), "as-is")


def _chosen(model: Model, spec: str) -> list[str]:
    if spec == "all":
        return list(model.parameters)
    if spec.startswith("last:"):
        return _last(model, spec)
    if spec == "bias-only":
        return [name for name, value in model.parameters.items() if value.ndim == 1 and name not in model.statistics]
    return [name for name in model.parameters if fnmatchcase(name, spec)]


def _last(model: Model, spec: str) -> list[str]:
    layers = [[x for x in node.input if x in model.parameters] for node in model.nodes]
    layers = [names for names in layers if names]
    number = spec.removeprefix("last:")
    if not number.isdecimal() or not 0 < int(number) <= len(layers):
        raise ExportError(f"--train {spec}: expected last:N with N from 1 to {len(layers)}, the layers with parameters")
    return [name for names in layers[-int(number) :] for name in names]
