"""Small models, one file each, built without any framework.

A file has `build(layers, argument)`, which strings layers together and returns the logits; the
argument is what follows the name, e.g. "256-128" in `zoo:mlp:256-128` (empty if nothing does).
Weights and biases start uniform in +-1/sqrt(fan-in), PyTorch's default for Linear and Conv.
"""

from collections.abc import Sequence

from edge.errors import ConfigError
from edge.plugins import load
from export.model import Model
from export.zoo._layers import Layers


def build(spec: str, *, shape: Sequence[int], classes: int, seed: int = 0) -> Model:
    """Build "NAME" or "NAME:ARGUMENT" for samples of `shape` (channels first) and `classes`.

    Raises:
        ConfigError: an unknown name, or a bad argument.
        ExportError: a shape the model cannot take.
    """
    name, _, argument = spec.partition(":")
    module = load("export.zoo", name)
    layers = Layers(shape, classes, seed)
    return layers.finish(name, module.build(layers, argument))


def widths(argument: str, default: tuple[int, ...], *, at_most: int | None = None) -> tuple[int, ...]:
    """Read "256-128" as (256, 128)."""
    if not argument:
        return default
    try:
        sizes = tuple(int(part) for part in argument.split("-"))
    except ValueError:
        sizes = (0,)
    if min(sizes) < 1:
        raise ConfigError(f"layer widths must be positive numbers joined by '-', as in 256-128; got '{argument}'")
    if at_most is not None and len(sizes) > at_most:
        raise ConfigError(f"expected {at_most} width, as in {default[0]}; got '{argument}'")
    return sizes


def number(argument: str, default: float) -> float:
    """Read a positive factor, as in "0.35"."""
    try:
        value = float(argument or default)
    except ValueError:
        value = 0
    if not 0 < value < 100:
        raise ConfigError(f"expected a width multiplier as in {default:g}; got '{argument}'")
    return value


def no_argument(name: str, argument: str) -> None:
    """Refuse what follows the name."""
    if argument:
        raise ConfigError(f"zoo:{name} takes no argument; got '{argument}'")
