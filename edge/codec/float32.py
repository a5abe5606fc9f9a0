"""`float32`: IEEE 754 single precision, little-endian, row by row. Exact."""

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Floats
from edge.specs import BodyCoding, CodecSpec


def size(rows: int, columns: int) -> int:
    """Bytes of a body."""
    return 4 * rows * columns


def encode(values: Floats) -> bytes:
    """(rows, columns) -> bytes."""
    return values.astype("<f4").tobytes()


def decode(body: bytes, rows: int, columns: int) -> Floats:
    """The inverse. Raises MessageError if a value is not finite."""
    values = np.frombuffer(body, "<f4").reshape(rows, columns).astype(np.float32)
    if not np.isfinite(values).all():
        raise MessageError("the message holds values that are not finite")
    return values


SPEC = CodecSpec(codings={"": BodyCoding(1, size, encode, decode)})
