"""What neighbours sent, sorted: bounded, each message counted once, and nothing a neighbour sends can raise.

Counts, by cause of refusal:
    malformed     not a message, or altered on its way
    foreign       from a device that is no neighbour, or not what that neighbour is expected to send
    duplicate     received before
    run           of another run of the fleet (`edge.messaging.run_identity`)
    late          of a round that is over
    early         of a round more than `MAX_EARLY` rounds after the open one
    missing_base  coded as the change since a message that is not here; to be requested whole

A foreign message that would do but for its digest is counted by its sender as well: that neighbour has another
reference set, model, scaling or class names.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edge.codec import CHUNK, HEADER, Chunk, bases_of, decode, join, request
from edge.errors import BaseMissing, MessageError
from edge.interfaces import Delivery, Format, Message, NodeId
from edge.messaging.run_identity import RunIdentity

MAX_EARLY = 3
"""Rounds after the open one whose messages are kept. Neighbours in step are at most one round apart; the others are
for a device that was away for a moment, and bound the memory that a neighbour can take."""
MAX_MALFORMED = 4
"""Bodies of one neighbour in one round that do not decode, at most: further ones of that round are not looked at. Only
malice makes them, as the checksum finds damage; and some bodies take long to refuse."""
CAUSES = ("malformed", "foreign", "run", "duplicate", "late", "early", "missing_base")
OTHER_DIGEST = "other_digest/"

_log = logging.getLogger(__name__)
_Key = tuple[str, int]  # kind, round


@dataclass(frozen=True)
class NeighbourSnapshot:
    """What an inbox holds of one neighbour; keys are (kind, round), those of `partial` lead to chunks by index."""

    newest: int
    partial: Mapping[_Key, Mapping[int, Chunk]]
    whole: Mapping[_Key, Message]
    taken: frozenset[_Key]
    bases: Mapping[str, Sequence[Message]]
    missing_base: frozenset[_Key]
    checked: int = 0
    has_run: bool = False
    malformed: int = 0


@dataclass(frozen=True)
class InboxSnapshot:
    """An inbox at one moment. counts: refusals by cause; logged: neighbours whose malformed messages were logged."""

    round: int
    counts: Mapping[str, int]
    logged: frozenset[NodeId]
    neighbours: Mapping[NodeId, NeighbourSnapshot]


@dataclass
class _Neighbour:
    formats: Mapping[str, Format]
    newest: int = 0
    """the latest round that anything it has sent is of, requests included"""
    checked: int = 0
    """the latest round that a message of its is of, which had the run, digest and size that were expected"""
    has_run: bool = False
    """whether its messages have a run: none without one is accepted from then on"""
    malformed: int = 0
    """bodies in the open round that did not decode"""
    nothing: set[str] = field(default_factory=set)
    """kinds of which it has said that it has sent none in the open round"""
    partial: dict[_Key, dict[int, Chunk]] = field(default_factory=dict)
    whole: dict[_Key, Message] = field(default_factory=dict)
    taken: set[_Key] = field(default_factory=set)
    bases: dict[str, list[Message]] = field(default_factory=dict)
    """by kind, the newest first: what the next message may be coded against"""
    missing_base: set[_Key] = field(default_factory=set)

    def has(self, chunk: Chunk) -> bool:
        key = (chunk.kind, chunk.round)
        held = self.partial.get(key, {}).get(chunk.index)
        return key in self.taken or key in self.whole or (held is not None and held.count == chunk.count)

    def keep(self, chunk: Chunk) -> None:
        """Raises MessageError if the last missing chunk does not complete a message; then all are dropped.

        BaseMissing is one: until then it does not matter what the message is coded against.
        """
        key = (chunk.kind, chunk.round)
        chunks = self.partial.setdefault(key, {})
        if any((other.coding, other.count) != (chunk.coding, chunk.count) for other in chunks.values()):
            chunks.clear()  # the message is being sent anew, in another coding
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
        self.missing_base = {k for k in self.missing_base if k[1] >= before}

    def snapshot(self) -> NeighbourSnapshot:
        return NeighbourSnapshot(
            self.newest,
            {key: dict(chunks) for key, chunks in self.partial.items()},
            dict(self.whole),
            frozenset(self.taken),
            {kind: tuple(messages) for kind, messages in self.bases.items()},
            frozenset(self.missing_base),
            self.checked,
            self.has_run,
            self.malformed,
        )

    def restore(self, snapshot: NeighbourSnapshot) -> None:
        self.newest = snapshot.newest
        self.partial = {key: dict(chunks) for key, chunks in snapshot.partial.items()}
        self.whole = dict(snapshot.whole)
        self.taken = set(snapshot.taken)
        self.bases = {kind: list(messages) for kind, messages in snapshot.bases.items()}
        self.missing_base = set(snapshot.missing_base)
        self.checked, self.has_run, self.malformed = snapshot.checked, snapshot.has_run, snapshot.malformed


class Inbox:
    """Messages by sender, kind and round, until they are taken.

    Only what is expected is kept. Of each kind a neighbour can make it hold at most MAX_EARLY + 1 messages of the
    agreed size (as float32, the widest coding) and one chunk, and of a kind that is coded as deltas two messages of
    past rounds.

    Args:
        accepts: sender -> the formats of the messages it may send; anything else is foreign.
        identity: the run whose messages are accepted; that of an emulated fleet if absent.
    """

    def __init__(self, accepts: Mapping[NodeId, Sequence[Format]], identity: RunIdentity | None = None) -> None:
        self.identity = identity or RunIdentity()
        self.counts = dict.fromkeys(CAUSES, 0)
        """messages refused so far, by cause"""
        self.other_digests: dict[NodeId, int] = {}
        """of the foreign ones, those with another digest, by neighbour"""
        self.round = 1
        """the round that is open"""
        self._neighbours = {name: _Neighbour({f.kind: f for f in formats}) for name, formats in accepts.items()}
        self._logged: set[NodeId] = set()
        self._strangers: set[NodeId] = set()

    def open(self, number: int) -> None:
        """From now on keep messages of this round and of the next few, and forget older ones."""
        self.round = number
        for neighbour in self._neighbours.values():
            neighbour.forget(before=number)
            neighbour.malformed = 0
            neighbour.nothing.clear()

    def admits(self, sender: NodeId, run: int | None) -> bool:
        """Whether something of that run (None: of version 1 of the format) belongs to this device's; counts if not."""
        neighbour = self._neighbours.get(sender)
        if run is None:
            belongs = neighbour is None or not neighbour.has_run
        else:
            belongs = run == self.identity.run
            if neighbour is not None:
                neighbour.has_run |= belongs
        if not belongs:
            self.counts["run"] += 1
            self._strangers |= {sender} & self._neighbours.keys()
        return belongs

    def take_strangers(self) -> list[NodeId]:
        """Neighbours that have sent something of another run since the last call, sorted."""
        strangers = sorted(self._strangers)
        self._strangers.clear()
        return strangers

    def knows(self, sender: NodeId) -> bool:
        """Whether it is a neighbour."""
        return sender in self._neighbours

    def put(self, delivery: Delivery) -> None:
        """Keep what arrived, or count why not."""
        neighbour = self._neighbours.get(delivery.sender)
        if neighbour is None:
            self.counts["foreign"] += 1
            return
        try:
            chunk = decode(delivery.payload)
            if chunk.kind != delivery.kind:
                raise MessageError(f"its topic says {delivery.kind}, its header {chunk.kind}")
            if not self.admits(delivery.sender, chunk.run):
                return
            if cause := self._refusal(neighbour, chunk):
                self.counts[cause] += 1
                self._note_digest(delivery.sender, chunk)
            else:
                self._keep(neighbour, chunk)
        except BaseMissing:
            self.counts["missing_base"] += 1
            neighbour.missing_base.add((chunk.kind, chunk.round))
        except MessageError as reason:
            self.reject_malformed(delivery.sender, reason)

    def take(self, sender: NodeId, kind: str) -> Message | None:
        """The sender's message of this kind and of the open round, once; None if it is not here."""
        key = (kind, self.round)
        neighbour = self._neighbours[sender]
        message = neighbour.whole.pop(key, None)
        if message is not None:
            neighbour.taken.add(key)
        return message

    def take_missing_base(self, sender: NodeId, kind: str) -> bool:
        """Whether the sender's message of this kind and of the open round came without its delta base; true once."""
        missing, key = self._neighbours[sender].missing_base, (kind, self.round)
        present = key in missing
        missing.discard(key)
        return present

    def request(self, sender: NodeId, kind: str) -> bytes:
        """The payload that asks the sender for its message of this kind and of the open round, or the rest of it."""
        neighbour = self._neighbours[sender]
        chunks = neighbour.partial.get((kind, self.round), {})
        count = next((chunk.count for chunk in chunks.values()), 0)
        missing = [i for i in range(count) if i not in chunks]
        return request(kind, self.round, neighbour.formats[kind].digest, missing, count, self.identity.run)

    def is_chunked(self, sender: NodeId, kind: str) -> bool:
        """Whether the sender's messages of this kind may take several payloads."""
        return 4 * math.prod(self._neighbours[sender].formats[kind].shape) > CHUNK - HEADER

    def neighbours(self) -> list[tuple[NodeId, str]]:
        """Everybody who may send something, with one kind of it, sorted by name."""
        return [(name, next(iter(neighbour.formats))) for name, neighbour in sorted(self._neighbours.items())]

    def reached(self, sender: NodeId, number: int) -> None:
        """Note that the sender has reached round `number`, which a request of its says."""
        if sender in self._neighbours:
            neighbour = self._neighbours[sender]
            neighbour.newest = max(neighbour.newest, number)

    def note_nothing(self, sender: NodeId, kind: str, number: int) -> None:
        """Note that the sender has sent no message of this kind in round `number`, and will not."""
        if number == self.round and sender in self._neighbours:
            self._neighbours[sender].nothing.add(kind)

    def is_expected(self, sender: NodeId, kind: str) -> bool:
        """Whether a message of this kind and of the open round may still come."""
        return kind not in self._neighbours[sender].nothing

    def newest(self, sender: NodeId) -> int:
        """The highest round of which the sender has sent something; 0 if it has sent nothing."""
        return self._neighbours[sender].newest

    def majority_round(self) -> int:
        """The lowest round of which most neighbours have sent a message, which no minority can pretend; 0 without any.

        A request does not count, nor does what its sender says in it.
        """
        reached = sorted((n.checked for n in self._neighbours.values()), reverse=True)
        return reached[len(reached) // 2] if reached else 0

    @property
    def refusals(self) -> dict[str, int]:
        """Messages refused so far, by cause, and for OTHER_DIGEST by neighbour: what telemetry has."""
        return self.counts | {OTHER_DIGEST + sender: count for sender, count in sorted(self.other_digests.items())}

    def reject_malformed(self, sender: NodeId, reason: MessageError) -> None:
        """Count a malformed message; log the first of each neighbour."""
        self.counts["malformed"] += 1
        if sender in self._neighbours and sender not in self._logged:
            self._logged.add(sender)
            _log.warning("message from %s dropped: %s (further ones are only counted)", sender, reason)

    def snapshot(self) -> InboxSnapshot:
        """A copy of all it holds, for `restore`; messages and chunks, which never change, are shared."""
        contents = {name: neighbour.snapshot() for name, neighbour in self._neighbours.items()}
        return InboxSnapshot(self.round, dict(self.counts), frozenset(self._logged), contents)

    def restore(self, snapshot: InboxSnapshot) -> None:
        """Put back what `snapshot` gave. Raises KeyError: it is of an inbox with other neighbours."""
        self.round, self.counts, self._logged = snapshot.round, dict(snapshot.counts), set(snapshot.logged)
        for name, neighbour in snapshot.neighbours.items():
            self._neighbours[name].restore(neighbour)

    def _keep(self, neighbour: _Neighbour, chunk: Chunk) -> None:
        """Raises MessageError: it completes a message that does not decode."""
        if neighbour.malformed >= MAX_MALFORMED:
            self.counts["malformed"] += 1
            return
        try:
            neighbour.keep(chunk)
        except BaseMissing:
            raise
        except MessageError:
            neighbour.malformed += 1
            raise

    def _note_digest(self, sender: NodeId, chunk: Chunk) -> None:
        """Count a refused message whose digest is all that is wrong with it; log the first of each neighbour."""
        expected = self._neighbours[sender].formats.get(chunk.kind)
        if expected is None or chunk.digest == expected.digest:
            return
        if not expected.fits(expected.digest, chunk.rows, chunk.columns):
            return
        if sender not in self.other_digests:
            _log.warning(
                "messages from %s are refused: they are about another reference set, model or class names (digest %s, "
                "expected %s); give both devices the same",
                sender,
                chunk.digest.hex(),
                expected.digest.hex(),
            )
        self.other_digests[sender] = self.other_digests.get(sender, 0) + 1

    def _refusal(self, neighbour: _Neighbour, chunk: Chunk) -> str | None:
        expected = neighbour.formats.get(chunk.kind)
        if expected is None or not expected.fits(chunk.digest, chunk.rows, chunk.columns):
            return "foreign"
        neighbour.newest = max(neighbour.newest, chunk.round)
        neighbour.checked = max(neighbour.checked, chunk.round)
        if chunk.round < self.round:
            return "late"
        if chunk.round > self.round + MAX_EARLY:
            return "early"
        return "duplicate" if neighbour.has(chunk) else None
