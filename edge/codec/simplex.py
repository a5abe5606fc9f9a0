"""`simplex:B`: probabilities in B bits, linear: the codes of a row sum to 2^B - 1 exactly, and a code is its share.

One bit is the argmax. Rows are rounded as `edge.quantiser` says.
"""

from dataclasses import dataclass

import numpy as np

from edge import quantiser
from edge.codec._bits import length, packed, unpacked
from edge.errors import MessageError
from edge.interfaces import Array, Floats
from edge.specs import BodyCoding, CodecSpec


@dataclass(frozen=True)
class Simplex:
    """A coding of `bits` bits an entry."""

    bits: int

    @property
    def units(self) -> int:
        """What a row's codes sum to."""
        return int(2**self.bits - 1)

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body."""
        return length(rows * columns, self.bits)

    def codes(self, values: Floats) -> Array:
        """The codes (rows, columns) uint8 of distributions."""
        return quantiser.codes(values, self.units).astype(np.uint8)

    def encode(self, values: Floats) -> bytes:
        """Code distributions (rows, columns)."""
        return packed(self.codes(values).ravel(), self.bits)

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """Decode distributions. Raises MessageError unless every row's codes sum to `units`."""
        codes = unpacked(body, rows * columns, self.bits).reshape(rows, columns)
        if (codes.sum(axis=1, dtype=np.int64) != self.units).any():
            raise MessageError(f"a row of codes does not sum to {self.units}")
        return codes.astype(np.float32) / np.float32(self.units)


def _coding(number: int, bits: int) -> BodyCoding:
    family = Simplex(bits)
    return BodyCoding(
        number,
        family.size,
        family.encode,
        family.decode,
        codes=family.codes,
        keeps_largest=True,
        only_largest=bits == 1,
    )


SPEC = CodecSpec(
    codings={"8": _coding(3, 8), "4": _coding(6, 4), "2": _coding(7, 2), "1": _coding(8, 1)}, kinds=("soft-labels",)
)
