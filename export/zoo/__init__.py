"""Small models, one a file, built without any framework.

A file has `build(layers, argument)`, which appends layers one after another and returns the logits. The argument is
what follows the name, e.g. "256-128" in `zoo:mlp:256-128` (empty if nothing does). Weights and biases start uniform in
+-1/sqrt(fan-in), PyTorch's default for Linear and Conv.

>>> model = build("mlp:32", shape=(1, 8, 8), classes=10)
>>> {name: value.shape for name, value in model.parameters.items()}
{'hidden1.weight': (32, 64), 'hidden1.bias': (32,), 'output.weight': (10, 32), 'output.bias': (10,)}
"""

from collections.abc import Sequence

from edge.errors import ConfigError
from edge.plugins import load
from export.model import Model
from export.zoo._layers import Layers

__all__ = ["Layers", "build", "no_argument", "number", "widths"]


def build(spec: str, *, shape: Sequence[int], classes: int, seed: int = 0) -> Model:
    """Build a model.

    Args:
        spec: "NAME" or "NAME:ARGUMENT".
        shape: of one sample, channels first.
        classes: how many logits.
        seed: of the initial values.

    Returns:
        The model.

    Raises:
        ConfigError: an unknown name, or a bad argument.
        ExportError: a shape the model cannot take.
    """
    name, _, argument = spec.partition(":")
    module = load("export.zoo", name)
    layers = Layers(shape, classes, seed)
    return layers.finish(name, module.build(layers, argument))


def widths(argument: str, default: tuple[int, ...], *, at_most: int | None = None) -> tuple[int, ...]:
    """Read layer widths.

    Args:
        argument: as in "256-128".
        default: the widths if the argument is empty.
        at_most: how many there may be.

    Returns:
        The widths.

    Raises:
        ConfigError: not such numbers, or too many.
    """
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
    """Read a width multiplier.

    Args:
        argument: as in "0.35".
        default: the factor if the argument is empty.

    Returns:
        The factor, above 0 and below 100.

    Raises:
        ConfigError: not such a number.
    """
    try:
        value = float(argument or default)
    except ValueError:
        value = 0
    if not 0 < value < 100:
        raise ConfigError(f"expected a width multiplier as in {default:g}; got '{argument}'")
    return value


def no_argument(name: str, argument: str) -> None:
    """Refuse an argument of a model that takes none.

    Args:
        name: of the model.
        argument: what followed the name.

    Raises:
        ConfigError: anything did.
    """
    if argument:
        raise ConfigError(f"zoo:{name} takes no argument; got '{argument}'")
