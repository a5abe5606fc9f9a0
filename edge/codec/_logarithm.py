"""Probabilities in b bits, by the logarithm of their ratio to the row's largest (`edge.codec._relative`).

-ln r from 0 to `clip` nats is divided into 2^b - 1 equal cells, each standing for its middle; what is smaller is in the
last. A file `logarithmB.py` gives a number of bits its ID and its clip.
"""

from dataclasses import dataclass

import numpy as np

from edge.codec._bits import length, packed, unpacked
from edge.codec._relative import marked, ratios, rows_of
from edge.interfaces import Floats


@dataclass(frozen=True)
class Logarithm:
    """A coding of `bits` bits."""

    bits: int
    clip: float

    @property
    def cell(self) -> float:
        """Nats."""
        return self.clip / float(2**self.bits - 1)

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body."""
        return length(rows * columns, self.bits)

    def encode(self, values: Floats) -> bytes:
        """(rows, columns) -> bytes."""
        ratio, first = ratios(values)
        with np.errstate(divide="ignore"):
            cells = np.minimum(-np.log(ratio) / np.float32(self.cell), np.float32(2**self.bits - 2))
        return packed(marked(cells, first).ravel(), self.bits)

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """The inverse. Raises MessageError unless every row has exactly one largest entry."""
        codes = unpacked(body, rows * columns, self.bits).reshape(rows, columns)
        return rows_of(codes, np.exp(-self.cell * np.maximum(np.arange(2**self.bits) - 0.5, 0)))
