"""Body coding 3: probabilities in one byte each; the codes of a row sum to 255 exactly.

A row p becomes codes q in 0..255 with sum q = 255 that minimise sum |q/255 - p|: round down, then
give the missing units to the largest remainders (the constrained quantiser of compressed federated
distillation, Sattler et al. 2022, with b = 8). Decoded rows are q/255.

A row that is not a distribution (D-Distillation's z may leave the simplex for a while) is first
clipped at 0 and divided by its sum; one with nothing above 0 becomes uniform. The largest entry stays
a largest entry; where another rounds to the same code, the first of them is not told apart.
"""

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Array, Floats

ID = 3
UNITS = 255


def size(rows: int, columns: int) -> int:
    """Bytes of a body."""
    return rows * columns


def encode(values: Floats) -> bytes:
    """(rows, columns) -> bytes. Raises ValueError if a value is not finite."""
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite are not sent")
    return codes(values).tobytes()


def decode(body: bytes, rows: int, columns: int) -> Floats:
    """The inverse. Raises MessageError unless every row's codes sum to 255."""
    found = np.frombuffer(body, np.uint8).reshape(rows, columns)
    if (found.sum(axis=1, dtype=np.int64) != UNITS).any():
        raise MessageError(f"a row of codes does not sum to {UNITS}")
    return found.astype(np.float32) / np.float32(UNITS)


def codes(values: Array) -> Array:
    """(rows, columns) uint8 by largest remainder; ties go to the earlier column."""
    p = np.clip(values.astype(np.float64), 0, None)
    total = p.sum(axis=1, keepdims=True)
    p = np.where(total > 0, p / np.where(total > 0, total, 1), 1 / values.shape[1])
    scaled = p * UNITS
    q = np.floor(scaled)
    missing = np.rint(UNITS - q.sum(axis=1)).astype(np.int64)
    order = np.argsort(q - scaled, axis=1, kind="stable")  # largest remainder first
    give = np.arange(values.shape[1]) < missing[:, None]
    np.put_along_axis(q, order, np.take_along_axis(q, order, axis=1) + give, axis=1)
    return q.astype(np.uint8)
