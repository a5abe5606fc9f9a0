"""`int8-delta`: weights as 8-bit differences from the message before, with what was dropped made up for later.

Outputs that are no distributions can be coded so, too. The difference from the base (the message that was sent last, as
the receiver decodes it) is cut into blocks of 256; a block is a scale and 256 whole numbers from -127 to 127. What
rounding drops is part of the next difference: error feedback without a buffer (Koloskova et al. 2019, CHOCO-SGD), and
finer the less the weights move. Without a base the body is whole, and exact: float32.

The body: round of the base, 4 bytes, 0 for none. Then float32 values; or the scales, the upper halves of float32
numbers (bfloat16), and a signed byte a value.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from edge.codec import float32
from edge.errors import BaseMissing, MessageError
from edge.interfaces import Array, Floats
from edge.specs import BodyCoding, CodecSpec

BLOCK = 256
STEPS = np.float32(127)


def size(_rows: int, _columns: int) -> None:
    """Depends on whether there is a base."""


def encode(values: Floats, bases: Sequence[tuple[int, Floats]] = ()) -> bytes:
    """Code weights (rows, columns). bases: (round, values), the newest first."""
    usable = [(number, base) for number, base in bases[:1] if base.shape == values.shape]
    if not usable:
        return bytes(4) + float32.encode(values)
    ((number, base),) = usable
    blocks = _blocks(values.astype(np.float32) - base)
    scales = _halved(np.abs(blocks).max(axis=1) / STEPS)
    codes = np.rint(blocks / np.where(scales > 0, scales, 1)[:, None])
    small = np.clip(codes, -STEPS, STEPS).astype(np.int8).ravel()[: values.size]
    return number.to_bytes(4, "little") + _upper(scales).tobytes() + small.tobytes()


def decode(body: bytes, rows: int, columns: int, bases: Mapping[int, Floats] | None = None) -> Floats:
    """Decode weights. bases: by round.

    Raises BaseMissing: the one that it was coded with is not among them; MessageError: any other fault.
    """
    number, count = int.from_bytes(body[:4], "little"), rows * columns
    blocks = -(-count // BLOCK)
    expected = 4 + (2 * blocks + count if number else 4 * count)
    if len(body) != expected:
        raise MessageError(f"{len(body)} bytes where {rows} x {columns} differences, or values, take {expected}")
    if not number:
        return float32.decode(body[4:], rows, columns)
    base = (bases or {}).get(number)
    if base is None:
        raise BaseMissing(f"coded as the difference from round {number}, which is not here")
    if base.shape != (rows, columns):
        raise MessageError(f"round {number} has another shape")
    scales = (np.frombuffer(body, "<u2", blocks, 4).astype(np.uint32) << 16).view(np.float32)
    if not (np.isfinite(scales).all() and (scales >= 0).all()):
        raise MessageError("a scale is not a finite number from 0")
    codes = np.frombuffer(body, np.int8, count, 4 + 2 * blocks)
    moved = (_blocks(codes.astype(np.float32)) * scales[:, None]).ravel()[:count].reshape(rows, columns)
    with np.errstate(over="ignore"):
        values: Floats = base + moved
    if not np.isfinite(values).all():
        raise MessageError("values that are not finite")
    return values


def _blocks(values: Array) -> Array:
    """(blocks, BLOCK), the last filled with zeros."""
    flat = values.ravel()
    return np.pad(flat, (0, -flat.size % BLOCK)).reshape(-1, BLOCK)


def _halved(scales: Array) -> Array:
    """The next bfloat16 numbers that are not smaller, as float32."""
    bits = scales.astype(np.float32).view(np.uint32)
    return ((bits + 0xFFFF) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def _upper(scales: Array) -> Array:
    return (scales.view(np.uint32) >> 16).astype("<u2")


SPEC = CodecSpec(codings={"": BodyCoding(21, size, encode, decode, bases=1)}, kinds=("weights", "outputs"))
