"""When a round of the fleet is over: when nobody who is there is still in it."""

import heapq
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from edge_sim.event_queue import Entry, Kind


@dataclass(frozen=True)
class RoundClosed:
    """Every node that is there has finished round `number`.

    at: virtual seconds since the start. payload_bytes: what all had sent by then, since the start.
    """

    number: int
    at: float
    payload_bytes: int


class OpenRounds:
    """Keeps count of who is in which round.

    A round is reported when nothing that is still to happen could come before its end: turns that were taken ahead of
    time may already have sent messages that leave later, and its evaluations may be outstanding.
    """

    def __init__(self, nodes: int) -> None:
        self.closed = 0
        """number of the last round that is over"""
        self._present = Counter({0: nodes})
        """round finished last -> how many of those who are there"""
        self._over: deque[tuple[int, float]] = deque()
        """(round, when it was over), to be reported"""
        self._sent: list[tuple[float, int]] = []
        """a heap of (when it left, payload bytes) of messages that no reported round includes yet"""
        self._payload_bytes = 0
        self._evaluations = 0
        """how many are outstanding"""

    @property
    def waits(self) -> bool:
        """Whether a round that is over has not been reported yet."""
        return bool(self._over)

    def add(self, finished: int) -> None:
        """Count a node that has come, and had finished that round last."""
        self._present[finished] += 1

    def remove(self, finished: int) -> None:
        """Do not count a node any more that had finished that round last."""
        self._present[finished] -= 1
        if not self._present[finished]:
            del self._present[finished]

    def close(self, at: float) -> None:
        """Close the rounds in which nobody who is there is any more."""
        self.close_up_to(min(self._present, default=0), at)

    def close_up_to(self, number: int, at: float) -> None:
        """Close all rounds up to this one."""
        while self.closed < number:
            self.closed += 1
            self._over.append((self.closed, at))

    def sent(self, at: float, payload_bytes: int) -> None:
        """Count a message that leaves at that time."""
        heapq.heappush(self._sent, (at, payload_bytes))

    def await_evaluations(self, change: int) -> None:
        """Report no round before so many more (less, if negative) evaluations have been done."""
        self._evaluations += change

    def report(self, upcoming: Entry | None) -> Iterator[RoundClosed]:
        """Yield the rounds that are over, if what comes next cannot come before their end."""
        then = (upcoming.at, upcoming.kind) if upcoming else (inf, Kind.RETURN)
        while self._over and not self._evaluations and (self._over[0][1], Kind.EVALUATION) < then:
            number, at = self._over.popleft()
            while self._sent and self._sent[0][0] <= at:
                self._payload_bytes += heapq.heappop(self._sent)[1]
            yield RoundClosed(number, at, self._payload_bytes)
