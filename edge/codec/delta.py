"""`delta:N`: probabilities as what changed since the messages before, in N cells, entropy coded.

The codes are those of `edge.codec.cuberoot`: code 0 is the row's first largest entry, codes 1 to N are equal cells of
1 - r^(1/3), each standing for a ratio that travels with the message. Both sides still have the last two messages (the
bases) as the receiver decoded them, and code those again: an entry's code then, and whether it rose or fell before, is
the context in which its code now is coded. A message without bases is whole, and costs two to three times as much.

Where bases are used the encoder does not take the nearest code: it quantises rate-distortion optimally (`_optimised`).
At the same divergence this saves a third of the bytes, more than any better guess of the nearest code would
(docs/results.md). What a message drops stays with its sender (`edge.protocols.d_distillation`), so that it is sent as
soon as it is worth its bits.

The body: round of the base and of the one before it, 4 bytes each, 0 for none; a byte for each of N cells, how far up
in it lies the ratio it stands for; the codes, row by row.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edge.codec._cubes import ends, means, nearest
from edge.codec._entropy import SymbolModel, cost, decoded, encoded, shares
from edge.codec._relative import ratios, rows_of
from edge.errors import BaseMissing, MessageError
from edge.interfaces import Array, Floats
from edge.specs import BodyCoding, CodecSpec

BASES = 2
"""how many earlier messages a change is coded with, where both sides have them"""
_ROUNDS = struct.Struct("<II")
STEPS = np.float32(256)
SPAN = 2
"""codes to either side of the nearest that the encoder considers"""


@dataclass(frozen=True)
class Delta:
    """A coding of `cells` cells. rate: lambda, nats of a row's divergence that a bit is worth."""

    cells: int
    rate: float

    def size(self, _rows: int, _columns: int) -> None:
        """Depends on the values."""
        return

    def codes(self, values: Floats) -> Array:
        """The nearest codes, (rows, columns) uint8."""
        return nearest(*ratios(values), self.cells)

    def encode(self, values: Floats, bases: Sequence[tuple[int, Floats]] = ()) -> bytes:
        """Code distributions (rows, columns). bases: (round, values), the newest first; used where that is shorter."""
        ratio, first = ratios(values)
        codes = nearest(ratio, first, self.cells)
        usable = [(number, self.codes(base)) for number, base in bases[:BASES] if base.shape == values.shape]
        contexts, expected = self._contexts([], codes.shape)
        coded = shares(SymbolModel(self.cells + 1, expected), contexts, codes.ravel())
        numbers = [0, 0]
        if usable:
            contexts, expected = self._contexts([base for _, base in usable], codes.shape)
            largest = np.maximum(values[np.arange(len(values)), first], 0)
            optimised = self._optimised(codes, ratio, largest, usable[0][1], contexts, expected)
            change = shares(SymbolModel(self.cells + 1, expected), contexts, optimised.ravel())
            if cost(change[0]) < cost(coded[0]):
                codes, coded, numbers = optimised, change, [*(number for number, _ in usable), 0][:2]
        return _ROUNDS.pack(*numbers) + self._steps(codes, ratio).tobytes() + encoded(*coded)

    def decode(self, body: bytes, rows: int, columns: int, bases: Mapping[int, Floats] | None = None) -> Floats:
        """Decode distributions. bases: by round.

        Raises BaseMissing: one that it was coded with is not among them; MessageError: any other fault.
        """
        if len(body) < _ROUNDS.size + self.cells + 4:
            raise MessageError(f"{len(body)} bytes do not hold two rounds, {self.cells} cells and a coder's state")
        known, used = bases or {}, []
        base, before = _ROUNDS.unpack_from(body)
        if before and not base:
            raise MessageError(f"coded with round {before}, but with none after it")
        for number in (n for n in (base, before) if n):
            if number not in known:
                raise BaseMissing(f"coded as the change since round {number}, which is not here")
            if known[number].shape != (rows, columns):
                raise MessageError(f"round {number} has another shape")
            used.append(self.codes(known[number]))
        at = _ROUNDS.size + self.cells
        contexts, expected = self._contexts(used, (rows, columns))
        codes = decoded(SymbolModel(self.cells + 1, expected), contexts, body[at:]).reshape(rows, columns)
        steps = np.frombuffer(body, np.uint8, self.cells, _ROUNDS.size)
        return rows_of(codes, np.concatenate([np.ones(1, np.float32), self._at(steps)]))

    def _contexts(self, used: Sequence[Array], shape: tuple[int, ...]) -> tuple[Array, Array]:
        """(context of every entry (rows * columns,), the code that each context expects).

        Without bases all are one. Else three for every code before: the entry fell then, stayed, or rose.
        """
        if not used:
            return np.zeros(shape, np.intp).ravel(), np.array([self.cells // 2])
        before = used[0].astype(np.intp)
        moved = np.sign(before - used[1]) if len(used) > 1 else np.zeros(shape, np.intp)
        return ((moved + 1) * (self.cells + 1) + before).ravel(), np.tile(np.arange(self.cells + 1), 3)

    def _optimised(
        self, plain: Array, ratio: Array, largest: Array, before: Array, contexts: Array, expected: Array
    ) -> Array:
        """Quantise rate-distortion optimally: of each entry's candidates the code with the least D + lambda R.

        D is the divergence of the entry, R what its code costs in bits under the entropy model (Sullivan and Wiegand,
        "Rate-distortion optimization for video compression", IEEE Signal Processing Magazine 1998). As the model
        depends on the codes, and the codes on the model, each is worked out given the other, twice (Chou, Lookabaugh
        and Gray, "Entropy-constrained vector quantization", IEEE Trans. ASSP 1989).

        Args:
            plain: (rows, columns) the nearest codes; candidates are these, SPAN to either side, and `before`.
            ratio: (rows, columns) of entries to their row's largest.
            largest: (rows,) the largest entries.
            before: (rows, columns) the codes of the base.
            contexts: (rows * columns,) of the entropy model, see `_contexts`.
            expected: the code that each context expects.

        Returns:
            (rows, columns) uint8.
        """
        codes, first = plain.astype(np.intp), plain == 0
        choices = [np.clip(codes + k, 1, self.cells) for k in range(-SPAN, SPAN + 1)] + [np.maximum(before, 1)]
        choice = np.stack(choices).astype(np.intp)
        logs = np.log(np.maximum(ratio, 1e-12))
        for _ in range(2):
            model = SymbolModel(self.cells + 1, expected)
            model.see(contexts, codes.ravel())
            bits = model.bits()[contexts[None], choice.reshape(len(choice), -1)].reshape(choice.shape)
            stand = np.concatenate([[1], self._at(self._steps(codes, ratio))])[choice]
            divergence = ratio * (logs - np.log(stand)) - ratio + stand  # of the ratios; times the largest, of the row
            best = (largest[:, None] * divergence + self.rate * bits).argmin(axis=0)
            codes = np.take_along_axis(choice, best[None], axis=0)[0]
            codes[first] = 0
        return codes.astype(np.uint8)

    def _at(self, steps: Array) -> Array:
        """The ratios (cells,) float32 that lie so many steps up in their cells."""
        low, high = ends(self.cells)
        ratio: Array = low + (high - low) * ((steps + np.float32(0.5)) / STEPS)
        return ratio

    def _steps(self, codes: Array, ratio: Array) -> Array:
        """How far up in its cell is the mean ratio of a code's members, (cells,) uint8; halfway without members."""
        low, high = ends(self.cells)
        count, mean = means(codes, ratio, self.cells)
        mean = np.where(count > 0, mean, (low + high) / 2)
        steps: Array = np.clip((mean - low) / (high - low) * STEPS, 0, STEPS - 1).astype(np.uint8)
        return steps


def _coding(number: int, cells: int, rate: float) -> BodyCoding:
    family = Delta(cells, rate)
    return BodyCoding(
        number, family.size, family.encode, family.decode, bases=BASES, codes=family.codes, keeps_largest=True
    )


SPEC = CodecSpec(
    codings={
        "24": _coding(17, 24, 2e-4),
        "15": _coding(18, 15, 5e-4),
        "7": _coding(19, 7, 1e-3),
        "3": _coding(20, 3, 1e-3),
    },
    kinds=("soft-labels",),
)
