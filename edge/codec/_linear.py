"""Probabilities in b bits, linear: the codes of a row sum to 2^b - 1 exactly (`edge.quantiser`); a code is its share.

One bit is the argmax. A file `probabilityB.py` gives a number of bits its ID.
"""

from dataclasses import dataclass

import numpy as np

from edge.codec._bits import length, packed, unpacked
from edge.errors import MessageError
from edge.interfaces import Floats
from edge.quantiser import codes


@dataclass(frozen=True)
class Linear:
    """A coding of `bits` bits."""

    bits: int

    @property
    def units(self) -> int:
        """What a row's codes sum to."""
        return int(2**self.bits - 1)

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body."""
        return length(rows * columns, self.bits)

    def encode(self, values: Floats) -> bytes:
        """(rows, columns) -> bytes."""
        return packed(codes(values, self.units).astype(np.uint8).ravel(), self.bits)

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """The inverse. Raises MessageError unless every row's codes sum to `units`."""
        found = unpacked(body, rows * columns, self.bits).reshape(rows, columns)
        if (found.sum(axis=1, dtype=np.int64) != self.units).any():
            raise MessageError(f"a row of codes does not sum to {self.units}")
        return found.astype(np.float32) / np.float32(self.units)
