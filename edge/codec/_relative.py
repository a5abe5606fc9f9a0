"""Probabilities in b bits, relative to the largest of their row.

Code 0 is the row's first largest entry, and nobody else's: so the class a device believes in is the class that its
neighbours read, whatever the number of bits. An entry p has the ratio r = p / largest; codes 1 to 2^b - 1 are cells
of r, each standing for one ratio below 1. A decoded row is the ratios of its codes, divided by their sum.
"""

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Array, Floats


def ratios(values: Floats) -> tuple[Array, Array]:
    """(ratio to the largest (rows, columns) float32 in 0 to 1, column of the first largest (rows,)).

    A row is first clipped at 0 (D-Distillation's z may leave the simplex); one with nothing above 0 is uniform.
    """
    p = np.maximum(values, np.float32(0))
    first = p.argmax(axis=1)
    largest = p[np.arange(len(p)), first]
    if not largest.all():
        p[largest == 0] = 1
        largest = np.where(largest == 0, np.float32(1), largest)
    return p / largest[:, None], first


def marked(cells: Array, first: Array) -> Array:
    """Cells from 0 (rows, columns) -> codes, uint8: one more, and 0 for the first largest."""
    codes = cells.astype(np.uint8) + np.uint8(1)
    codes[np.arange(len(codes)), first] = 0
    return codes


def rows_of(codes: Array, ratio: Array) -> Floats:
    """Codes (rows, columns) -> distributions. ratio: of every code, that of 0 being 1.

    Raises MessageError unless every row has exactly one code 0.
    """
    if ((codes == 0).sum(axis=1) != 1).any():
        raise MessageError("a row of codes does not have exactly one largest entry")
    relative = ratio.astype(np.float32)[codes]
    shares: Floats = relative / relative.sum(axis=1, keepdims=True)
    return shares
