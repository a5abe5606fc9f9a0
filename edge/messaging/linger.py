"""Staying for a while after the last round, to answer neighbours that still need a message of it."""

from collections.abc import Callable, Generator

from edge.messaging.collector import Waiting
from edge.messaging.inbox import Inbox
from edge.messaging.retransmission import REQUEST_INTERVAL, Retransmitter

LINGER = 16.0
"""Seconds without a request after which a finished device leaves: time for the requests after 2, 6, 10 and 14 seconds
of a neighbour that lost its last message. Together with the announcements it leaves, where 30 % of all messages are
lost, 12 of 10,000 lost last messages unanswered; without announcements and without starting anew at a request,
645."""


def linger(
    inbox: Inbox,
    retransmitter: Retransmitter,
    read: Callable[[], None],
    now: Callable[[], float],
    *,
    last: int,
    round_timeout: float,
) -> Generator[Waiting, None, None]:
    """See `edge.messaging.mailbox.Mailbox.linger`."""
    start = now()
    end = start + min(LINGER, round_timeout)
    neighbours = inbox.neighbours()
    while True:
        for neighbour, kind in neighbours:
            retransmitter.announce(neighbour, kind, last + 1)
        next_announcement = min(end, now() + REQUEST_INTERVAL)
        while now() < next_announcement:
            read()
            end = max(end, min(retransmitter.last_request + LINGER, start + round_timeout))
            # A finished neighbour may have disconnected; with a persistent session the broker would keep what it is
            # sent now until it reconnects.
            neighbours = [(name, kind) for name, kind in neighbours if 0 < inbox.newest(name) <= last]
            if not neighbours:
                return
            yield Waiting(tuple(name for name, _ in neighbours), next_announcement)
        if next_announcement >= end:
            return
