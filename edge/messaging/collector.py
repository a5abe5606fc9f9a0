"""Receives the messages of one round, and requests those that do not come, until all are there or time is up."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from edge.interfaces import Message, NodeId
from edge.messaging.inbox import Inbox
from edge.messaging.outbox import KEPT_ROUNDS
from edge.messaging.retransmission import RequestSchedule, Retransmitter

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
    """

    inbox: Inbox
    retransmitter: Retransmitter
    read: Callable[[], None]
    now: Callable[[], float]

    def collect(
        self, wait_for: Mapping[NodeId, Sequence[str]], number: int, deadline: float
    ) -> Generator[Waiting, None, Received]:
        """See `edge.messaging.mailbox.Mailbox.collect`."""
        wanted = [(sender, kind) for sender, kinds in wait_for.items() for kind in kinds]
        received: Received = {}
        schedule = RequestSchedule(self.now())
        while True:
            self.read()
            missing = self._take(wanted, received)
            if not missing or self.now() >= deadline or self._passed_by(missing, number):
                return received
            self._request(missing, schedule)
            yield Waiting(tuple(dict.fromkeys(sender for sender, _ in missing)), min(deadline, schedule.next))

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
        """Whether all senders are so far ahead that they no longer keep their messages of round `number`."""
        return all(self.inbox.newest(sender) > number + KEPT_ROUNDS for sender, _ in missing)

    def _request(self, missing: Sequence[tuple[NodeId, str]], schedule: RequestSchedule) -> None:
        """Request what is due, and at once what can only have been lost."""
        now = self.now()
        due, early = now >= schedule.next, self.retransmitter.take_early()
        for sender, kind in missing:
            if self.inbox.take_missing_base(sender, kind) or due or sender in early:
                self.retransmitter.request(sender, kind)
        if due:
            schedule.advance(now, any(self.inbox.is_chunked(sender, kind) for sender, kind in missing))
