"""`range:B`: numbers in B bits, linear from the smallest to the largest of each column, which are exact.

For outputs that are no distributions: the numbers of a regression, or probabilities that do not exclude one another.
The body: the low and then the high of every column, float32; then the codes, row by row, packed. A value is
low + code (high - low) / (2^B - 1).
"""

from dataclasses import dataclass

import numpy as np

from edge.codec._bits import length, packed, unpacked
from edge.errors import MessageError
from edge.interfaces import Floats
from edge.specs import BodyCoding, CodecSpec


@dataclass(frozen=True)
class Range:
    """A coding of `bits` bits an entry."""

    bits: int

    @property
    def most(self) -> int:
        """The largest code."""
        return int(2**self.bits - 1)

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body."""
        return 8 * columns + length(rows * columns, self.bits)

    def encode(self, values: Floats) -> bytes:
        """Code numbers (rows, columns)."""
        ends = np.stack([values.min(axis=0), values.max(axis=0)])
        low, high = ends.astype(np.float64)
        span = np.where(high > low, high - low, 1)
        codes = np.rint((values - low) / span * self.most).astype(np.uint8)
        return ends.astype("<f4").tobytes() + packed(codes.ravel(), self.bits)

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """Decode numbers. Raises MessageError: a range that is not finite, or upside down."""
        low, high = np.frombuffer(body, "<f4", 2 * columns).reshape(2, columns).astype(np.float64)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
            raise MessageError("a column's range is not finite, or its low is above its high")
        codes = unpacked(body[8 * columns :], rows * columns, self.bits).reshape(rows, columns)
        values: Floats = (low + codes * ((high - low) / self.most)).clip(low, high).astype(np.float32)
        return np.where(codes == self.most, high.astype(np.float32), values)


def _coding(number: int, bits: int) -> BodyCoding:
    family = Range(bits)
    return BodyCoding(number, family.size, family.encode, family.decode)


SPEC = CodecSpec(codings={"8": _coding(32, 8), "4": _coding(33, 4)}, kinds=("outputs",))
