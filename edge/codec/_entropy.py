"""An entropy coder: symbols in as few bytes as a model of them that both sides grow alike.

The coder is the range variant of asymmetric numeral systems (Duda 2013, arXiv:1311.2540), with a state of 31 bits that
gives off bytes. The model knows for every context (what the receiver knows before it reads a symbol) how often each
symbol followed, and begins by believing that a symbol is near the one that is expected. It grows after 64 symbols, 128
more, 256 more ...: so its tables are made a few times a message, and no statistics travel. All of it is whole numbers:
the tables have to be the same on every machine.

In plain Python rather than from a library: none that codes with contexts has wheels for ARM, and 10,000 symbols take
milliseconds (docs/results.md).
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edge.errors import MessageError
from edge.interfaces import Array

BITS = 14
"""a symbol's share of its context is in 2^-14"""
LOWEST = 1 << 23
"""the state lies between this and 256 times it"""
FIRST = 64
"""symbols before the model grows for the first time"""
SEEN, NEAR = 32, 64
"""weight of having seen a symbol once, and of what is expected before anything was seen"""


@dataclass
class SymbolModel:
    """How likely each of `symbols` is in each context; expected: (contexts,), the likeliest to begin with."""

    symbols: int
    expected: Array

    def __post_init__(self) -> None:
        apart = np.abs(np.arange(self.symbols) - self.expected[:, None].astype(np.int64))
        self._weights: Array = 1 + (NEAR >> np.minimum(2 * apart, 30))

    def see(self, contexts: Array, symbols: Array) -> None:
        """These symbols came, each in its context."""
        np.add.at(self._weights, (contexts, symbols), SEEN)

    def shares(self) -> Array:
        """(contexts, symbols) int64, from 1; a context's sum to 2^BITS."""
        total = self._weights.sum(axis=1, keepdims=True)
        table: Array = 1 + self._weights * ((1 << BITS) - self.symbols) // total
        contexts = np.arange(len(table))
        table[contexts, table.argmax(axis=1)] += (1 << BITS) - table.sum(axis=1)
        return table

    def bits(self) -> Array:
        """(contexts, symbols): what a symbol costs at present."""
        return BITS - np.log2(self.shares())


def shares(model: SymbolModel, contexts: Array, symbols: Array) -> tuple[Array, Array]:
    """(share, sum of the shares before it) of every symbol as it is coded, (n,) each; the model grows."""
    share, start = np.empty(len(symbols), np.int64), np.empty(len(symbols), np.int64)
    for part in _parts(len(symbols)):
        table = model.shares()
        at = contexts[part], symbols[part]
        share[part] = table[at]
        start[part] = (table.cumsum(axis=1) - table)[at]
        model.see(*at)
    return share, start


def cost(share: Array) -> float:
    """Bytes that symbols of these shares take, but for the few of the state."""
    return float(BITS * len(share) - np.log2(share).sum()) / 8


def encoded(share: Array, start: Array) -> bytes:
    """The symbols' bytes, from `shares`: the state, least byte first, and what it gave off."""
    state, given = LOWEST, bytearray()
    for f, c in zip(share[::-1].tolist(), start[::-1].tolist(), strict=True):  # what is put in last comes out first
        while state >= f << (31 - BITS):
            given.append(state & 255)
            state >>= 8
        state = (state // f << BITS) + state % f + c
    return state.to_bytes(4, "little") + given[::-1]


def decoded(model: SymbolModel, contexts: Array, body: bytes) -> Array:
    """The symbols (n,) uint8 in these contexts. Raises MessageError unless the bytes are used up exactly."""
    state, at, mask = int.from_bytes(body[:4], "little"), 4, (1 << BITS) - 1
    if len(body) < at or not LOWEST <= state < LOWEST << 8:
        raise MessageError("the coded symbols begin with a state that no encoder leaves")
    sequence = np.empty(len(contexts), np.uint8)
    for part in _parts(len(contexts)):
        table = model.shares()
        widths, ends = table.tolist(), table.cumsum(axis=1).tolist()
        symbols: list[int] = []
        for context in _numbers(contexts[part]):
            slot = state & mask
            symbol = bisect_right(ends[context], slot)
            width = widths[context][symbol]
            state = width * (state >> BITS) + slot - ends[context][symbol] + width
            while state < LOWEST:
                if at == len(body):
                    raise MessageError("the coded symbols end too early")
                state = state << 8 | body[at]
                at += 1
            symbols.append(symbol)
        sequence[part] = symbols
        model.see(contexts[part], sequence[part])
    if state != LOWEST or at != len(body):
        raise MessageError("bytes are left over after the last coded symbol")
    return sequence


def _numbers(array: Array) -> Iterator[int]:
    """Of the array, made as they are needed: what a header claims to follow may never come."""
    for at in range(0, len(array), 65536):
        yield from array[at : at + 65536].tolist()


def _parts(count: int) -> Iterator[slice]:
    at, size = 0, FIRST
    while at < count:
        yield slice(at, min(at + size, count))
        at, size = at + size, 2 * size
