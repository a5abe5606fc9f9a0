"""Choose which parameters are trained; the others are frozen, and cost no backward work.

all           every parameter
last:N        those of the last N layers that have any
bias-only     those with one axis: biases, and scales of normalizations
lora:R        small layers of rank R beside the frozen ones (`export.transforms.lora`)
PATTERN       names that match, as in 'conv2.*' or 'output.weight' (shell wildcards)
A,B,!C        a list of these, from left to right: C is taken out; the name of a constant makes it a parameter
"""

from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np

from export.errors import ExportError
from export.model import Model
from export.transforms import batch_norm, lora
from export.transforms.float_weights import LAYERS


def select(model: Model, spec: str, *, seed: int = 0) -> Model:
    """Train only some parameters.

    Args:
        model: the model.
        spec: all, last:N, bias-only, a pattern, or a list of them with negations; or lora:R alone.
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
    parts = spec.split(",")
    model = _with_constants(model, parts)
    chosen = set(model.parameters) if parts[0].startswith("!") else set()
    for part in parts:
        names = _chosen(model, part.removeprefix("!"))
        if not names:
            raise ExportError(f"--train {part} matches no parameter; there are: {', '.join(model.parameters)}")
        chosen = chosen - set(names) if part.startswith("!") else chosen | set(names)
    if not chosen:
        raise ExportError(f"--train {spec} leaves no parameter to train")
    return batch_norm.select(replace(model, trainable=frozenset(chosen)), "as-is")


def _with_constants(model: Model, names: list[str]) -> Model:
    """Make parameters of the float constants that are named in full."""
    named = {k: v for k, v in model.constants.items() if k in names and v.dtype == np.float32 and v.ndim}
    if not named:
        return model
    rest = {k: v for k, v in model.constants.items() if k not in named}
    return replace(model, parameters=model.parameters | named, constants=rest)


def _chosen(model: Model, spec: str) -> list[str]:
    if spec == "all":
        return list(model.parameters)
    if spec.startswith("last:"):
        return _last(model, spec)
    if spec == "bias-only":
        return [name for name, value in model.parameters.items() if value.ndim == 1 and name not in model.statistics]
    return [name for name in model.parameters if fnmatchcase(name, spec)]


def _last(model: Model, spec: str) -> list[str]:
    layers = _layers(model)
    number = spec.removeprefix("last:")
    if not number.isdecimal() or not 0 < int(number) <= len(layers):
        raise ExportError(f"--train {spec}: expected last:N with N from 1 to {len(layers)}, the layers with parameters")
    return [name for names in layers[-int(number) :] for name in names]


def _layers(model: Model) -> list[list[str]]:
    """The parameters of each layer; a bias that is added behind a product belongs to the layer of the product."""
    layers: list[list[str]] = []
    products: dict[str, list[str]] = {}
    for node in model.nodes:
        names = [x for x in node.input if x in model.parameters]
        product = next((products[x] for x in node.input if x in products), None)
        if node.op_type == "Add" and names and product is not None:
            product += names
        elif names:
            layers.append(names)
            if node.op_type in LAYERS:
                products[node.output[0]] = names
    return layers
