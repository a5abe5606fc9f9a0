"""`cuberoot:B`: probabilities in B bits, by the cube root of their ratio to the row's largest (`edge.codec._relative`).

1 - r^(1/3) is divided into 2^B - 1 equal cells. What a cell stands for is the mean ratio of its members, which the body
begins with (float16): of all numbers the mean has the least Kullback-Leibler divergence from them.

Why a root: a change of ln p by e changes the divergence by p e^2 / 2, so cells equal in ln p spend bits where nobody
looks; in the square root of p all would matter alike, but for the many entries that are almost 0, which a higher root
keeps apart. docs/results.md compares them (`edge-bench wire`).
"""

from dataclasses import dataclass

import numpy as np

from edge.codec._bits import length, packed, unpacked
from edge.codec._cubes import ends, means, nearest
from edge.codec._relative import ratios, rows_of
from edge.errors import MessageError
from edge.interfaces import Array, Floats
from edge.specs import BodyCoding, CodecSpec

TINIEST = np.float32(2.0**-24)
"""of float16: nothing is decoded as impossible"""
MARGIN = np.float32(2.0**-9)
"""how far, relatively, a mean is kept from the ends of its cell, so that what was decoded is coded alike again"""


@dataclass(frozen=True)
class CubeRoot:
    """A coding of `bits` bits an entry."""

    bits: int

    @property
    def cells(self) -> int:
        """How many there are."""
        return int(2**self.bits - 1)

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body."""
        return 2 * self.cells + length(rows * columns, self.bits)

    def codes(self, values: Floats) -> Array:
        """The codes (rows, columns) uint8 of distributions."""
        return nearest(*ratios(values), self.cells)

    def encode(self, values: Floats) -> bytes:
        """Code distributions (rows, columns)."""
        ratio, first = ratios(values)
        codes = nearest(ratio, first, self.cells)
        return self._means(codes, ratio).astype("<f2").tobytes() + packed(codes.ravel(), self.bits)

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """Decode distributions. Raises MessageError: a mean that is none, or a row without just one largest entry."""
        means = np.frombuffer(body, "<f2", self.cells).astype(np.float32)
        if not ((means >= 0) & (means < 1)).all():
            raise MessageError("a mean ratio is not between 0 and 1")
        codes = unpacked(body[2 * self.cells :], rows * columns, self.bits).reshape(rows, columns)
        if not means[np.unique(codes[codes > 0]) - 1].all():
            raise MessageError("the mean ratio of a code in use is 0")
        return rows_of(codes, np.concatenate([np.ones(1, np.float32), means]))

    def _means(self, codes: Array, ratio: Array) -> Array:
        """Mean ratio of codes 1, 2, ...; 0 for a code that nobody has."""
        count, mean = means(codes, ratio, self.cells)
        low, high = ends(self.cells)
        kept = np.clip(mean, np.maximum(low * (1 + MARGIN), TINIEST), high * (1 - MARGIN))
        return np.where(count > 0, kept, 0)


def _coding(number: int, bits: int) -> BodyCoding:
    family = CubeRoot(bits)
    return BodyCoding(number, family.size, family.encode, family.decode, codes=family.codes, keeps_largest=True)


SPEC = CodecSpec(codings={"6": _coding(12, 6), "5": _coding(13, 5), "4": _coding(14, 4)}, kinds=("soft-labels",))
