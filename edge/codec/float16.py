"""`float16`: IEEE 754 half precision, little-endian, row by row. Exact to half a unit in the last place."""

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Floats
from edge.specs import BodyCoding, CodecSpec

LARGEST = 65504.0


def size(rows: int, columns: int) -> int:
    """Bytes of a body."""
    return 2 * rows * columns


def encode(values: Floats) -> bytes:
    """(rows, columns) -> bytes. Raises ValueError if a value is too large for the format."""
    if not (np.abs(values) <= LARGEST).all():
        raise ValueError(f"half precision holds finite values up to {LARGEST:.0f} only")
    return values.astype("<f2").tobytes()


def decode(body: bytes, rows: int, columns: int) -> Floats:
    """The inverse. Raises MessageError if a value is not finite."""
    values = np.frombuffer(body, "<f2").reshape(rows, columns).astype(np.float32)
    if not np.isfinite(values).all():
        raise MessageError("the message holds values that are not finite")
    return values


SPEC = CodecSpec(codings={"": BodyCoding(2, size, encode, decode)})
