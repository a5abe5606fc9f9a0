"""Receives the messages of one round, and requests those that do not come, until all are there or time is up."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from edge.interfaces import Message, NodeId
from edge.messaging.inbox import Inbox
from edge.messaging.outbox import KEPT_ROUNDS
from edge.messaging.retransmission import RequestSchedule, Retransmitter

OFFLINE_PATIENCE = 2
"""How many times as long as in a round it waits for a neighbour that the broker says is offline: time to start again,
so that its process may end and come back without anybody missing a message."""
Received = dict[NodeId, dict[str, Message]]
"""sender -> kind -> message"""


@dataclass(frozen=True)
class Waiting:
    """The loop cannot go on until one of the `missing` has sent something, or the clock reads `until` (seconds)."""

    missing: tuple[NodeId, ...]
    until: float


@dataclass(frozen=True)
class Collector:
    """Args:
    inbox: where messages are.
    retransmitter: sends requests.
    read: sorts what the transport has received into the inbox.
    now: the device's clock, in seconds.
    offline: neighbours that the broker says are gone, and since when by this clock.
    """

    inbox: Inbox
    retransmitter: Retransmitter
    read: Callable[[], None]
    now: Callable[[], float]
    offline: Mapping[NodeId, float]

    def collect(
        self, wait_for: Mapping[NodeId, Sequence[str]], number: int, deadline: float
    ) -> Generator[Waiting, None, Received]:
        """See `edge.messaging.mailbox.Mailbox.collect`."""
        wanted = [(sender, kind) for sender, kinds in wait_for.items() for kind in kinds]
        received: Received = {}
        begin = self.now()
        schedule = RequestSchedule(begin)
        while True:
            self.read()
            missing = self._take(wanted, received)
            end = self._end(missing, deadline, deadline - begin)
            if not missing or self.now() >= end or self._passed_by(missing, number):
                return received
            self._request(missing, schedule)
            yield Waiting(tuple(dict.fromkeys(sender for sender, _ in missing)), min(end, schedule.next))

    def _end(self, missing: Sequence[tuple[NodeId, str]], deadline: float, patience: float) -> float:
        """Until when it waits: the deadline, or sooner if all that are missing have been offline for a while."""
        grace = OFFLINE_PATIENCE * patience
        ends = (min(deadline, self.offline.get(sender, deadline) + grace) for sender, _ in missing)
        return max(ends, default=deadline)

    def _take(self, wanted: Sequence[tuple[NodeId, str]], received: Received) -> list[tuple[NodeId, str]]:
        """Move what the inbox has of `wanted` into `received`; returns what is still missing."""
        missing = []
        for sender, kind in wanted:
            if kind in received.get(sender, {}):
                continue
            if message := self.inbox.take(sender, kind):
                received.setdefault(sender, {})[kind] = message
            else:
                missing.append((sender, kind))
        return missing

    def _passed_by(self, missing: Sequence[tuple[NodeId, str]], number: int) -> bool:
        """Whether nothing can come: all senders are too far ahead to keep messages of round `number`, or have none."""
        return all(
            self.inbox.newest(sender) > number + KEPT_ROUNDS or not self.inbox.is_expected(sender, kind)
            for sender, kind in missing
        )

    def _request(self, missing: Sequence[tuple[NodeId, str]], schedule: RequestSchedule) -> None:
        """Request what is due, and at once what can only have been lost."""
        now = self.now()
        due, early = now >= schedule.next, self.retransmitter.take_early()
        for sender, kind in missing:
            if self.inbox.take_missing_base(sender, kind) or due or sender in early:
                self.retransmitter.request(sender, kind)
        if due:
            schedule.advance(now, any(self.inbox.is_chunked(sender, kind) for sender, kind in missing))
