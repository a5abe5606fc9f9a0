"""Codes of b bits each, one after the other, the highest bit first; the last byte is filled with zeros."""

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Array


def packed(codes: Array, bits: int) -> bytes:
    """Codes (n,) uint8 below 2^bits -> ceil(n bits / 8) bytes."""
    if bits == 8:
        return codes.tobytes()
    return np.packbits(np.unpackbits(codes[:, None], axis=1)[:, 8 - bits :]).tobytes()


def unpacked(body: bytes, count: int, bits: int) -> Array:
    """The inverse, (count,) uint8. Raises MessageError if what fills the last byte is not zero."""
    codes = np.frombuffer(body, np.uint8)
    if bits == 8:
        return codes
    stream = np.unpackbits(codes)
    if stream[count * bits :].any():
        raise MessageError("the last byte of the codes is not filled with zeros")
    wide = np.zeros((count, 8), np.uint8)
    wide[:, 8 - bits :] = stream[: count * bits].reshape(count, bits)
    return np.packbits(wide, axis=1)[:, 0]


def length(count: int, bits: int) -> int:
    """Bytes of so many codes."""
    return -(-count * bits // 8)
