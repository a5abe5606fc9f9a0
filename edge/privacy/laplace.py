"""`laplace:B`: Laplace noise of scale B (standard deviation 1.41 B) on every probability (Dwork et al. 2006)."""

import numpy as np

from edge.interfaces import Array
from edge.specs import NoiseSpec


def sensitivity(rows: int) -> float:
    """How far `rows` distributions can move, in the sum of absolute differences."""
    return 2.0 * rows


def draw(scale: float, shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Float64 of that shape."""
    return random.laplace(0, scale, shape)


SPEC = NoiseSpec(draw=draw, sensitivity=sensitivity)
