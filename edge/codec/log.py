"""`log:B`: probabilities in B bits, by the logarithm of their ratio to the row's largest (`edge.codec._relative`).

-ln r from 0 to `clip` nats is divided into 2^B - 1 equal cells, each standing for its middle; what is smaller is in the
last.
"""

from dataclasses import dataclass

import numpy as np

from edge.codec._bits import length, packed, unpacked
from edge.codec._relative import marked, ratios, rows_of
from edge.interfaces import Array, Floats
from edge.specs import BodyCoding, CodecSpec


@dataclass(frozen=True)
class Logarithm:
    """A coding of `bits` bits an entry. clip: nats."""

    bits: int
    clip: float

    @property
    def cell(self) -> float:
        """Nats."""
        return self.clip / float(2**self.bits - 1)

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body."""
        return length(rows * columns, self.bits)

    def codes(self, values: Floats) -> Array:
        """The codes (rows, columns) uint8 of distributions."""
        ratio, first = ratios(values)
        with np.errstate(divide="ignore"):
            cells = np.minimum(-np.log(ratio) / np.float32(self.cell), np.float32(2**self.bits - 2))
        return marked(cells, first)

    def encode(self, values: Floats) -> bytes:
        """Code distributions (rows, columns)."""
        return packed(self.codes(values).ravel(), self.bits)

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """Decode distributions. Raises MessageError unless every row has exactly one largest entry."""
        codes = unpacked(body, rows * columns, self.bits).reshape(rows, columns)
        return rows_of(codes, np.exp(-self.cell * np.maximum(np.arange(2**self.bits) - 0.5, 0)))


def _coding(number: int, bits: int, clip: float) -> BodyCoding:
    family = Logarithm(bits, clip)
    return BodyCoding(number, family.size, family.encode, family.decode, codes=family.codes, keeps_largest=True)


SPEC = CodecSpec(
    codings={"8": _coding(9, 8, 12.0), "6": _coding(10, 6, 12.0), "4": _coding(11, 4, 8.0)}, kinds=("soft-labels",)
)
