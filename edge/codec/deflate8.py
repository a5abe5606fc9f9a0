"""`deflate8`: integers 0 to 255 in one byte each, then DEFLATE (zlib). For codes that seldom change.

The only coding whose size depends on the values: `size` is None, and the header's rows and columns
bound what is unpacked.
"""

import zlib

from edge.codec import integer8
from edge.errors import MessageError
from edge.interfaces import Floats
from edge.specs import BodyCoding, CodecSpec


def size(rows: int, columns: int) -> None:
    """Unknown beforehand."""


def encode(values: Floats) -> bytes:
    """(rows, columns) -> bytes. Raises ValueError unless all values are integers from 0 to 255."""
    return zlib.compress(integer8.encode(values), 9)


def decode(body: bytes, rows: int, columns: int) -> Floats:
    """The inverse. Raises MessageError unless exactly the announced values come out."""
    unpacker = zlib.decompressobj()
    try:
        plain = unpacker.decompress(body, rows * columns + 1)
    except zlib.error as reason:
        raise MessageError(f"the body cannot be unpacked: {reason}") from None
    if len(plain) != rows * columns or not unpacker.eof or unpacker.unused_data:
        raise MessageError(f"the body does not unpack to {rows} x {columns} values")
    return integer8.decode(plain, rows, columns)


SPEC = CodecSpec(codings={"": BodyCoding(5, size, encode, decode)}, kinds=("codes", "labels"))
