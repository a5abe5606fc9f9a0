"""Requests for messages that did not come, and the answers to a neighbour's requests.

A request also says which round its sender is in, so that it serves as an announcement: see `edge.messaging.mailbox`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from edge.codec import NOTHING, RETRANSMIT, Request, request
from edge.interfaces import NodeId, Transport
from edge.messaging.inbox import Inbox
from edge.messaging.outbox import KEPT_ROUNDS, Outbox

REQUEST_INTERVAL = 2.0
"""Seconds of silence after which a device requests what is missing; the next interval is twice as long. A message may
well be a second or two on its way, and a device that asks sooner asks for what is coming anyway."""
LONGEST_REQUEST_INTERVAL = 4.0
"""Seconds between requests, at most, for messages of one payload. On a lossy link requests and answers are lost too,
so that several have to be sent before the deadline; they are small. For chunked messages the interval keeps doubling
instead: on a slow link the answers queue up behind what is still on its way."""
ANSWER_INTERVAL = REQUEST_INTERVAL / 2
"""Seconds between two answers for the same message to the same neighbour, at least. Who asks often costs little power
then, and an honest neighbour, which asks every REQUEST_INTERVAL, is always answered."""
ANSWERS = 16
"""Answers for the same message to the same neighbour, after which it gets one in LATER_ANSWER_INTERVAL only: where half
of all messages are lost, one neighbour in 65,000 needs more."""
LATER_ANSWER_INTERVAL = 60.0


class RequestSchedule:
    """When the messages of one round are requested, counted from when the device began to wait for them."""

    def __init__(self, start: float) -> None:
        self._interval = REQUEST_INTERVAL
        self.next = start + REQUEST_INTERVAL
        """seconds of the device's clock at which the next request is due"""

    def advance(self, now: float, chunked: bool) -> None:
        """Requests were sent `now`. chunked: whether a message that is missing may take several payloads."""
        self._interval *= 2
        if not chunked:
            self._interval = min(self._interval, LONGEST_REQUEST_INTERVAL)
        self.next = now + self._interval


@dataclass(frozen=True)
class RetransmitterSnapshot:
    """A retransmitter at one moment; see the attributes of `Retransmitter`."""

    last_request: float
    early: frozenset[NodeId]


@dataclass
class Retransmitter:
    """Sends requests and answers them.

    Args:
        transport: carries both.
        inbox: knows what has come, and the round that is open.
        outbox: knows what was sent.
        now: the device's clock, in seconds.
    """

    transport: Transport
    inbox: Inbox
    outbox: Outbox
    now: Callable[[], float]
    last_request: float = -math.inf
    """when a neighbour last asked for a message that is kept here"""
    _early: set[NodeId] = field(default_factory=set)

    def request(self, sender: NodeId, kind: str) -> None:
        """Ask a neighbour for its message of this kind and of the open round, or for the rest of it."""
        self.transport.send(sender, RETRANSMIT, self.inbox.request(sender, kind))

    def announce(self, neighbour: NodeId, kind: str, number: int) -> None:
        """Tell a neighbour that this device is in round `number`: a request with no digest, which nothing answers."""
        self.transport.send(neighbour, RETRANSMIT, request(kind, number, bytes(8), run=self.inbox.identity.run))

    def answer(self, requester: NodeId, wanted: Request) -> None:
        """Send a neighbour again what it asks for, unless it was sent just now, or has not even left yet."""
        if wanted.nothing:
            self.inbox.note_nothing(requester, wanted.kind, wanted.round)
            return
        self.inbox.reached(requester, wanted.round)
        if self.inbox.round < wanted.round <= self.inbox.round + KEPT_ROUNDS:
            self._early.add(requester)
        if (
            wanted.round < self.inbox.round - KEPT_ROUNDS
        ):  # it was away, and nobody may have anything else to send to it
            self.announce(requester, wanted.kind, self.inbox.round)
            return
        record = self.outbox.find(requester, wanted.kind, wanted.round)
        if record is None:
            if wanted.round < self.inbox.round:  # it need not wait, as nothing will come
                words = request(wanted.kind, wanted.round, NOTHING, run=self.inbox.identity.run)
                self.transport.send(requester, RETRANSMIT, words)
            return
        self.last_request = self.now()
        if self.last_request < record.quiet_until or self.transport.backlog(requester):
            return
        record.answers += 1
        record.quiet_until = self.last_request + (
            ANSWER_INTERVAL if record.answers < ANSWERS else LATER_ANSWER_INTERVAL
        )
        for payload in self.outbox.payloads(record, wanted):
            self.transport.send(requester, wanted.kind, payload)

    def take_early(self) -> frozenset[NodeId]:
        """Neighbours that have asked for a later round since the last call: what they sent of this one was lost."""
        early = frozenset(self._early)
        self._early.clear()
        return early

    def snapshot(self) -> RetransmitterSnapshot:
        """A copy of what it knows, for `restore`."""
        return RetransmitterSnapshot(self.last_request, frozenset(self._early))

    def restore(self, snapshot: RetransmitterSnapshot) -> None:
        """Put back what `snapshot` gave."""
        self.last_request, self._early = snapshot.last_request, set(snapshot.early)
