"""What a clock and those who compute tell each other: a node's turn, and what came of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from edge.interfaces import Delivery, NodeId
from edge.messaging.mailbox import Waiting
from edge.node import Row


@dataclass(frozen=True)
class TurnRequest:
    """Node `index` has its turn at `at` virtual seconds.

    arrived: what has come since its last turn. keep: whether a crash before it finishes its next round takes it back to
    how it is now.
    """

    index: int
    at: float
    arrived: Sequence[Delivery] = ()
    keep: bool = False


@dataclass(frozen=True)
class OutgoingMessage:
    """A message that a node sends. at: virtual seconds when it leaves; size: bytes of its packet in MQTT."""

    at: float
    receiver: NodeId
    size: int
    delivery: Delivery


@dataclass(frozen=True)
class TurnResult:
    """What came of a turn.

    step: what the node's loop yielded; None after the last round. until: virtual seconds when the node had computed it.
    """

    index: int
    step: Waiting | Row | None
    until: float
    sent: Sequence[OutgoingMessage]
