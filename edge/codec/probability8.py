"""Body coding 3: probabilities in one byte each; the codes of a row sum to 255 exactly.

A row p becomes codes q in 0..255 with sum q = 255 that minimise sum |q/255 - p| (`edge.quantiser`);
decoded rows are q/255.
"""

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Floats
from edge.quantiser import codes

ID = 3
KINDS = ("soft-labels",)
"""the kinds of message it can carry; any, if a coding does not say"""
UNITS = 255


def size(rows: int, columns: int) -> int:
    """Bytes of a body."""
    return rows * columns


def encode(values: Floats) -> bytes:
    """(rows, columns) -> bytes. Raises ValueError if a value is not finite."""
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite are not sent")
    return codes(values, UNITS).astype(np.uint8).tobytes()


def decode(body: bytes, rows: int, columns: int) -> Floats:
    """The inverse. Raises MessageError unless every row's codes sum to 255."""
    found = np.frombuffer(body, np.uint8).reshape(rows, columns)
    if (found.sum(axis=1, dtype=np.int64) != UNITS).any():
        raise MessageError(f"a row of codes does not sum to {UNITS}")
    return found.astype(np.float32) / np.float32(UNITS)
