"""What neighbours said, sorted: bounded, each counted once, nothing a neighbour sends can raise.

Counts, by cause of refusal:
    malformed   not a message, or altered on its way
    foreign     from somebody who is no neighbour, or not what that neighbour is expected to say
    duplicate   said before
    late        about a round that is over
    early       more than `AHEAD` rounds ahead of what is being read
    baseless    coded as the change since a message that is not here; to be asked for whole
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.codec import CHUNK, HEADER, Chunk, bases_of, decode, join, request
from edge.errors import BaseMissing, MessageError
from edge.interfaces import Delivery, Format, Message, NodeId

AHEAD = 3
"""Rounds beyond the one being read that are kept; in step a neighbour is at most one ahead."""
CAUSES = ("malformed", "foreign", "duplicate", "late", "early", "baseless")

_log = logging.getLogger(__name__)
_Key = tuple[str, int]  # kind, round


@dataclass
class _Neighbour:
    formats: Mapping[str, Format]
    newest: int = 0
    partial: dict[_Key, dict[int, Chunk]] = field(default_factory=dict)
    whole: dict[_Key, Message] = field(default_factory=dict)
    taken: set[_Key] = field(default_factory=set)
    bases: dict[str, list[Message]] = field(default_factory=dict)
    """by kind, the newest first: what the next message may be coded with"""
    baseless: set[_Key] = field(default_factory=set)

    def has(self, chunk: Chunk) -> bool:
        key = (chunk.kind, chunk.round)
        held = self.partial.get(key, {}).get(chunk.index)
        return key in self.taken or key in self.whole or (held is not None and held.count == chunk.count)

    def keep(self, chunk: Chunk) -> None:
        """Raises MessageError if the last missing chunk does not complete a message; then all are dropped.

        BaseMissing is one: until then nobody need know what the message is coded with.
        """
        key = (chunk.kind, chunk.round)
        chunks = self.partial.setdefault(key, {})
        if any((other.coding, other.count) != (chunk.coding, chunk.count) for other in chunks.values()):
            chunks.clear()  # it is being said anew, in another way
        chunks[chunk.index] = chunk
        if len(chunks) >= chunk.count:
            del self.partial[key]
            bases = self.bases.get(chunk.kind, [])
            self.whole[key] = message = join(list(chunks.values()), bases)
            if kept := bases_of(chunk.coding):
                self.bases[chunk.kind] = sorted([message, *bases], key=lambda m: -m.round)[:kept]

    def forget(self, before: int) -> None:
        for store in (self.partial, self.whole):
            for key in [k for k in store if k[1] < before]:
                del store[key]
        self.taken = {k for k in self.taken if k[1] >= before}
        self.baseless = {k for k in self.baseless if k[1] >= before}


class Inbox:
    """Messages by sender, kind and round, until they are taken.

    Only what is expected is kept: a neighbour can make it hold at most AHEAD + 1 messages of each
    kind, each of the size that was agreed (as float32, the widest coding) and one chunk, and two that are over
    of a kind that is coded as changes.

    hears: what each neighbour may say; anything else is foreign.
    """

    def __init__(self, hears: Mapping[NodeId, Sequence[Format]]) -> None:
        self.counts = dict.fromkeys(CAUSES, 0)
        self._neighbours = {name: _Neighbour({f.kind: f for f in formats}) for name, formats in hears.items()}
        self.round = 1
        self._complained: set[NodeId] = set()

    def open(self, number: int) -> None:
        """From now on messages of this round, and of the next few, are kept; older ones are forgotten."""
        self.round = number
        for neighbour in self._neighbours.values():
            neighbour.forget(before=number)

    def put(self, delivery: Delivery) -> None:
        """Take in what arrived, or count why not."""
        neighbour = self._neighbours.get(delivery.sender)
        if neighbour is None:
            self.counts["foreign"] += 1
            return
        try:
            chunk = decode(delivery.payload)
            if chunk.kind != delivery.kind:
                raise MessageError(f"its topic says {delivery.kind}, its header {chunk.kind}")
            if cause := self._refusal(neighbour, chunk):
                self.counts[cause] += 1
            else:
                neighbour.keep(chunk)
        except BaseMissing:
            self.counts["baseless"] += 1
            neighbour.baseless.add((chunk.kind, chunk.round))
        except MessageError as reason:
            self.complain(delivery.sender, reason)

    def take(self, sender: NodeId, kind: str) -> Message | None:
        """The sender's message of this kind and of the round that is open, once."""
        key = (kind, self.round)
        neighbour = self._neighbours[sender]
        message = neighbour.whole.pop(key, None)
        if message is not None:
            neighbour.taken.add(key)
        return message

    def baseless(self, sender: NodeId, kind: str) -> bool:
        """Whether the sender's message of this kind and of the open round came, but without its base; says so once."""
        neighbour, key = self._neighbours[sender], (kind, self.round)
        found = key in neighbour.baseless
        neighbour.baseless.discard(key)
        return found

    def again(self, sender: NodeId, kind: str) -> bytes:
        """What to ask the sender: for its message of this kind and of the open round, or for what is missing of it."""
        neighbour = self._neighbours[sender]
        chunks = neighbour.partial.get((kind, self.round), {})
        count = next((chunk.count for chunk in chunks.values()), 0)
        missing = [i for i in range(count) if i not in chunks]
        return request(kind, self.round, neighbour.formats[kind].digest, missing, count)

    def large(self, sender: NodeId, kind: str) -> bool:
        """Whether the sender's messages of this kind may take several payloads."""
        return 4 * math.prod(self._neighbours[sender].formats[kind].shape) > CHUNK - HEADER

    def neighbours(self) -> list[tuple[NodeId, str]]:
        """Everybody who may say something, with a kind of it."""
        return [(name, next(iter(neighbour.formats))) for name, neighbour in sorted(self._neighbours.items())]

    def reached(self, sender: NodeId, number: int) -> None:
        """The sender has spoken of this round."""
        if sender in self._neighbours:
            neighbour = self._neighbours[sender]
            neighbour.newest = max(neighbour.newest, number)

    def newest(self, sender: NodeId) -> int:
        """The highest round the sender has spoken of; 0 if it has not."""
        return self._neighbours[sender].newest

    def majority_round(self) -> int:
        """The lowest round that most neighbours have reached: no minority can pretend it."""
        reached = sorted((n.newest for n in self._neighbours.values()), reverse=True)
        return reached[len(reached) // 2] if reached else 0

    def complain(self, sender: NodeId, reason: MessageError) -> None:
        """Count a malformed message; log the first of each neighbour."""
        self.counts["malformed"] += 1
        if sender in self._neighbours and sender not in self._complained:
            self._complained.add(sender)
            _log.warning("message from %s dropped: %s (further ones are only counted)", sender, reason)

    def _refusal(self, neighbour: _Neighbour, chunk: Chunk) -> str | None:
        expected = neighbour.formats.get(chunk.kind)
        if expected is None or not expected.fits(chunk.digest, chunk.rows, chunk.columns):
            return "foreign"
        neighbour.newest = max(neighbour.newest, chunk.round)
        if chunk.round < self.round:
            return "late"
        if chunk.round > self.round + AHEAD:
            return "early"
        return "duplicate" if neighbour.has(chunk) else None
