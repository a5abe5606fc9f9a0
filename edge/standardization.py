"""Input scaling that travels with a model: one shift and one scale for each feature or channel.

They are taken from a shared reference set when the model is exported, and are the first nodes of its graphs. So all
devices, engines and predictions agree on them, and nothing about them is sent.

>>> x = np.array([[0.0, 7.0], [54.0, 7.0]])
>>> measured = measure(x)
>>> measured.shift, measured.scale, measured.constant
((27.0, 7.0), (0.037037037037037035, 1.0), (1,))
>>> ill_scaled(x)
'a spread of 38.2 (expected 0.2 to 5)'
"""

import numpy as np
from pydantic import BaseModel, ConfigDict

from edge.interfaces import Array

LEAST_SPREAD, LARGEST_SPREAD = 0.2, 5.0
"""Between these, data trains well as it is."""
CHANNELS_LAST = (1, 3, 4)
"""Sizes of a last axis that are taken for colour channels."""
HOW = "export it again with edge-export --standardize, or scale the data alike on all devices"
TESTED_ROWS = 2000
"""rows, evenly spaced, that a spread is judged by"""
CHUNK = 1024
ROUNDING = 1e-6
"""a standard deviation below this fraction of the largest value is none: float32 has seven digits"""


class Standardization(BaseModel):
    """What a model does to its input first: (x - shift) * scale."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    axis: int
    """of a sample, which the entries of `shift` and `scale` belong to"""
    shift: tuple[float, ...]
    """the mean of each feature or channel"""
    scale: tuple[float, ...]
    """one over the standard deviation of each; 1 where there is no variance"""
    constant: tuple[int, ...] = ()
    """those without variance"""

    def along(self, values: tuple[float, ...], rank: int) -> Array:
        """Return values as a float32 array that broadcasts over samples with that many axes."""
        shape = [1] * rank
        shape[self.axis] = len(values)
        return np.array(values, np.float32).reshape(shape)


def channel_axis(shape: tuple[int, ...]) -> int:
    """Return the axis of a sample whose entries are scaled apart.

    Args:
        shape: of one sample. A vector has features; of the two axes of a window the shorter one has the channels; an
            image has them first, or last where only that is of 1, 3 or 4.

    Returns:
        The number of the axis, from 0.

    Examples:
        >>> [channel_axis(shape) for shape in ((20,), (6, 128), (128, 6), (3, 32, 32), (32, 32, 3))]
        [0, 0, 1, 0, 2]
    """
    if len(shape) == 2:
        return int(shape[1] < shape[0])
    return 2 if len(shape) == 3 and shape[2] in CHANNELS_LAST and shape[0] not in CHANNELS_LAST else 0


def measure(x: Array) -> Standardization:
    """Measure the mean and the spread of each feature or channel.

    Args:
        x: (n, ...) floats, n at least 1.

    Returns:
        The shift and the scale that give each a mean of 0 and a standard deviation of 1.
    """
    axis = channel_axis(x.shape[1:])
    others = tuple(i for i in range(x.ndim) if i != axis + 1)
    count = x.size // x.shape[axis + 1]
    mean = sum(part.sum(others, np.float64) for part in _parts(x)) / count
    along = np.expand_dims(mean, [i - 1 for i in others if i])
    squares = sum(((part - along) ** 2).sum(others, np.float64) for part in _parts(x))
    deviation, largest = np.sqrt(squares / count), np.abs(x).max(others)
    constant = deviation <= ROUNDING * largest
    scale = 1 / np.where(constant, 1.0, deviation)
    return Standardization(
        axis=axis,
        shift=tuple(mean.tolist()),
        scale=tuple(scale.tolist()),
        constant=tuple(np.flatnonzero(constant).tolist()),
    )


def ill_scaled(x: Array) -> str:
    """Say what is wrong with the scale of samples; "" if nothing is.

    Args:
        x: (n, ...) samples. Integers, such as token numbers, have no scale.

    Returns:
        Words for a message. The spread is the root mean square of a feature or channel, so that one which is far from
        zero counts, too; the largest one of all must be between LEAST_SPREAD and LARGEST_SPREAD.
    """
    if x.dtype.kind != "f" or not x.size:
        return ""
    few = x[:: -(-len(x) // TESTED_ROWS)].astype(np.float64)
    axis = channel_axis(x.shape[1:])
    spread = float(np.sqrt((few**2).mean(tuple(i for i in range(x.ndim) if i != axis + 1)).max()))
    if LEAST_SPREAD <= spread <= LARGEST_SPREAD:
        return ""
    return f"a spread of {spread:.3g} (expected {LEAST_SPREAD:g} to {LARGEST_SPREAD:g})"


def _parts(x: Array) -> list[Array]:
    return [x[i : i + CHUNK] for i in range(0, len(x), CHUNK)]
