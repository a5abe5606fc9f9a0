"""Equal cells of 1 - r^(1/3), r an entry over its row's largest: what `_root` and `_delta` have in common."""

import numpy as np

from edge.codec._relative import marked
from edge.interfaces import Array


def nearest(ratio: Array, first: Array, cells: int) -> Array:
    """The codes (rows, columns) uint8 of ratios: 0 for the first largest, else 1 + the cell."""
    return marked(np.minimum((1 - np.cbrt(ratio)) * np.float32(cells), np.float32(cells - 1)), first)


def ends(cells: int) -> tuple[Array, Array]:
    """(lower, upper) ratio of each cell, (cells,) float32."""
    u = 1 - np.arange(cells + 1, dtype=np.float32) / np.float32(cells)
    cubes = u * u * u
    return cubes[1:], cubes[:-1]


def means(codes: Array, ratio: Array, cells: int) -> tuple[Array, Array]:
    """(how many entries have each code, from 1 on; the mean of their ratios, 0 of none), (cells,) each.

    Of all numbers the mean has the least Kullback-Leibler divergence from those it stands for.
    """
    count = np.bincount(codes.ravel(), minlength=cells + 1)[1:]
    total = np.bincount(codes.ravel(), weights=ratio.ravel(), minlength=cells + 1)[1:]
    return count, total / np.maximum(count, 1)
