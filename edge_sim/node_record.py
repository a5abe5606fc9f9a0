"""What the emulator knows of a node while it runs."""

from dataclasses import dataclass, field
from math import inf

from edge.interfaces import Delivery
from edge.messaging.mailbox import Waiting
from edge_sim import states
from edge_sim.states import ASLEEP, NodeEvent, NodeState


@dataclass
class NodeRecord:
    """What the emulation knows of a node. life: which one, as events of an earlier one do not count."""

    state: NodeState = NodeState.NEW
    life: int = 0
    finished: int = 0
    """number of the round that it finished last"""
    waiting: Waiting | None = None
    """what it waits for, while it does"""
    turn_at: float = inf
    """when its next turn is, if one is queued"""
    mail: list[Delivery] = field(default_factory=list)
    """what has arrived since its last turn"""
    messages: int = 0
    """how many it has sent"""
    away_since: float = 0.0
    away_until: float = 0.0

    def change(self, event: NodeEvent) -> None:
        """Let `event` happen to it. Raises IllegalTransition."""
        self.state = states.following(self.state, event)

    def resumed(self, at: float) -> float:
        """When something happens to it that would have at `at`, were it not asleep."""
        return self.away_until + at - self.away_since if self.state in ASLEEP else at

    def forget(self) -> None:
        """Begin another life: what was in memory is gone."""
        self.life += 1
        self.waiting, self.turn_at = None, inf
        self.mail.clear()
