"""What is still to happen in virtual time, and in which order.

Events are ordered by time; at one moment by `Kind`; of one kind by whom they are about; never by which was known first.
So the order does not depend on how many threads or machines took part, or on how far they looked ahead.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, NamedTuple

from edge.interfaces import Delivery
from edge.messaging.mailbox import Waiting
from edge.node import Row
from edge_sim.turns import OutgoingMessage


class Kind(IntEnum):
    """Kinds of events, in the order in which those of one moment happen.

    What ends comes before what begins, and messages come before turns, so that a node sees all that has arrived by
    then. A round begins last: where nothing takes time, everybody has finished a round, and has been evaluated, before
    anybody begins the next.
    """

    RETURN = 0
    ABSENCE = 1
    DEPARTURE = 2
    AT_BROKER = 3
    ARRIVAL = 4
    COMPUTED = 5
    TURN = 6
    EVALUATION = 7
    BEGIN = 8


LOCAL = frozenset({Kind.DEPARTURE, Kind.AT_BROKER, Kind.ARRIVAL, Kind.COMPUTED, Kind.TURN, Kind.BEGIN})
"""Events that concern one node alone, for as long as the shortest link"""


@dataclass(frozen=True, slots=True)
class Scheduled:
    """An event. about: number of the node that it concerns, then what tells it from others of its kind."""

    about: tuple[int, ...]
    kind: ClassVar[Kind]

    @property
    def index(self) -> int:
        """The node's number."""
        return self.about[0]


@dataclass(frozen=True, slots=True)
class Return(Scheduled):
    """A node is back from an absence, unless it has been sent away for longer since."""

    kind: ClassVar[Kind] = Kind.RETURN


@dataclass(frozen=True, slots=True)
class AbsenceBegins(Scheduled):
    """Devices go away until `until` (virtual seconds; infinite: for good). asleep: they keep what is in memory."""

    kind: ClassVar[Kind] = Kind.ABSENCE
    until: float
    devices: Sequence[int]
    asleep: bool


@dataclass(frozen=True, slots=True)
class Departure(Scheduled):
    """A message leaves its sender, unless that life of the sender is over. about: sender, number of the message."""

    kind: ClassVar[Kind] = Kind.DEPARTURE
    life: int
    message: OutgoingMessage


@dataclass(frozen=True, slots=True)
class AtBroker(Scheduled):
    """A message has come up to the broker. about: receiver, sender, number of the message, number of the copy."""

    kind: ClassVar[Kind] = Kind.AT_BROKER
    message: OutgoingMessage


@dataclass(frozen=True, slots=True)
class Arrival(Scheduled):
    """A message has come down to its receiver. about: as in `AtBroker`."""

    kind: ClassVar[Kind] = Kind.ARRIVAL
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Computed(Scheduled):
    """The time that a turn took has passed. step: what the node's loop yielded; None after the last round."""

    kind: ClassVar[Kind] = Kind.COMPUTED
    life: int
    step: Waiting | Row | None


@dataclass(frozen=True, slots=True)
class Turn(Scheduled):
    """A node that waits goes on: something has arrived, or its deadline has passed."""

    kind: ClassVar[Kind] = Kind.TURN
    life: int


@dataclass(frozen=True, slots=True)
class EvaluationDue(Scheduled):
    """A device is evaluated after the round that it has just finished."""

    kind: ClassVar[Kind] = Kind.EVALUATION


@dataclass(frozen=True, slots=True)
class Begin(Scheduled):
    """A node begins its next round."""

    kind: ClassVar[Kind] = Kind.BEGIN
    life: int


class Entry(NamedTuple):
    """An event in the queue; entries compare as tuples. number: so that the events themselves are never compared."""

    at: float
    kind: Kind
    about: tuple[int, ...]
    number: int
    event: Scheduled


class EventQueue:
    """A heap of events."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._pushed = 0

    def push(self, at: float, event: Scheduled) -> None:
        """Let `event` happen at `at` virtual seconds."""
        self._pushed += 1
        heapq.heappush(self._heap, Entry(at, event.kind, event.about, self._pushed, event))

    @property
    def first(self) -> Entry | None:
        """What happens next, which stays in the queue; None if nothing will."""
        return self._heap[0] if self._heap else None

    def pop(self) -> Entry:
        """Take out what happens next."""
        return heapq.heappop(self._heap)
