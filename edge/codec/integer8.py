"""`integer8`: integers 0 to 255 in one byte each, row by row: class numbers, codes."""

import numpy as np

from edge.interfaces import Floats
from edge.specs import BodyCoding, CodecSpec


def size(rows: int, columns: int) -> int:
    """Bytes of a body."""
    return rows * columns


def encode(values: Floats) -> bytes:
    """(rows, columns) -> bytes. Raises ValueError unless all values are integers from 0 to 255."""
    if not ((values >= 0) & (values <= 255) & (np.rint(values) == values)).all():
        raise ValueError("one byte holds integers from 0 to 255 only")
    return values.astype(np.uint8).tobytes()


def decode(body: bytes, rows: int, columns: int) -> Floats:
    """The inverse."""
    return np.frombuffer(body, np.uint8).reshape(rows, columns).astype(np.float32)


SPEC = CodecSpec(codings={"": BodyCoding(4, size, encode, decode)}, kinds=("codes", "labels"))
