"""`gaussian:S`: normal noise of standard deviation S on every probability (Dwork and Roth 2014, appendix A)."""

from math import sqrt

import numpy as np

from edge.interfaces import Array
from edge.specs import NoiseSpec


def sensitivity(rows: int) -> float:
    """How far `rows` distributions can move, in the square root of the sum of squares."""
    return sqrt(2 * rows)


def draw(scale: float, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Float64 of that shape."""
    return random.normal(0, scale, shape)


SPEC = NoiseSpec(draw=draw, sensitivity=sensitivity)
