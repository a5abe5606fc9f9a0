"""`topk:K`: the K largest probabilities of a row, in 8 bits, and where they are; the others share what is left.

For many classes, of which a row names a few. A chosen entry is always decoded above the others' share, so that what was
decoded is coded alike again, and the first largest entry stays the first largest.
"""

from dataclasses import dataclass

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Array, Floats
from edge.quantiser import rounded
from edge.specs import BodyCoding, CodecSpec

UNITS = 255


@dataclass(frozen=True)
class TopK:
    """A coding of the `most` largest entries, or all of fewer columns."""

    most: int

    def size(self, rows: int, columns: int) -> int:
        """Bytes of a body: the columns of all chosen entries, then their codes."""
        return rows * min(self.most, columns) * (_column(columns).itemsize + 1)

    def encode(self, values: Floats) -> bytes:
        """Code distributions (rows, columns)."""
        p = np.maximum(values, np.float32(0))
        p[~p.any(axis=1)] = 1
        columns = p.shape[1]
        k = min(self.most, columns)
        where = np.sort(np.argsort(-p, axis=1, kind="stable")[:, :k], axis=1)
        chosen = np.take_along_axis(p, where, axis=1).astype(np.float64)
        rest = np.maximum(p.sum(axis=1, dtype=np.float64) - chosen.sum(axis=1), 0)
        codes = rounded(np.column_stack([chosen, rest]), UNITS)[0].astype(np.int64)
        _above_the_rest(codes, columns - k)
        _first_first(codes, p.argmax(axis=1), where)
        return where.astype(_column(columns)).tobytes() + codes[:, :k].astype(np.uint8).tobytes()

    def decode(self, body: bytes, rows: int, columns: int) -> Floats:
        """Decode distributions. Raises MessageError: columns out of order or range, or codes of no distribution."""
        k, column = min(self.most, columns), _column(columns)
        where = np.frombuffer(body, column, rows * k).reshape(rows, k).astype(np.int64)
        codes = np.frombuffer(body, np.uint8, offset=rows * k * column.itemsize).reshape(rows, k).astype(np.int64)
        if (where >= columns).any() or (np.diff(where, axis=1) <= 0).any():
            raise MessageError("the columns of a row's largest entries are out of order or range")
        rest = UNITS - codes.sum(axis=1)
        if (rest < 0).any() or (columns == k and rest.any()):
            raise MessageError(f"a row of codes does not sum to {UNITS}")
        others = columns - k
        if others and (codes.min(axis=1) * others <= rest).any():
            raise MessageError("an entry of a row's largest is not above the others")
        share = rest / max(others, 1)
        whole = np.repeat(share[:, None], columns, axis=1)
        np.put_along_axis(whole, where, codes.astype(np.float64), axis=1)
        return (whole / UNITS).astype(np.float32)


def _column(columns: int) -> np.dtype[np.unsignedinteger]:
    """What holds the number of a column."""
    return np.dtype("<u1" if columns <= 256 else "<u2" if columns <= 65536 else "<u4")


def _above_the_rest(codes: Array, others: int) -> None:
    """Give every chosen entry more than each of the others has, from theirs or else the largest. In place."""
    if not others:
        codes[:, 0] += codes[:, -1]
        codes[:, -1] = 0
        return
    while (low := codes[:, :-1] * others <= codes[:, -1:]).any():
        short = np.flatnonzero(low.any(axis=1))
        at = codes[short, :-1].argmin(axis=1)
        donor = np.where(codes[short, -1] > 0, codes.shape[1] - 1, codes[short, :-1].argmax(axis=1))
        codes[short, at] += 1
        codes[short, donor] -= 1


def _first_first(codes: Array, first: Array, where: Array) -> None:
    """Make the code of column `first` the first largest of those chosen, with a unit of the others. In place."""
    at = (where == first[:, None]).argmax(axis=1)
    while (wrong := np.flatnonzero(codes[:, :-1].argmax(axis=1) != at)).size:
        largest = codes[wrong, :-1].argmax(axis=1)
        spare = codes[wrong, -1] > 0
        codes[wrong, at[wrong]] += 1
        codes[wrong[spare], -1] -= 1
        codes[wrong[~spare], largest[~spare]] -= 1


def _coding(number: int, most: int) -> BodyCoding:
    family = TopK(most)
    return BodyCoding(number, family.size, family.encode, family.decode, keeps_largest=True)


SPEC = CodecSpec(codings={"1": _coding(15, 1), "3": _coding(16, 3)}, kinds=("soft-labels",))
