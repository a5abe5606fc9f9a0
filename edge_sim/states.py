"""The states of an emulated node, the events that change them, and the table of all transitions.

A node is in exactly one `NodeState`. `TRANSITIONS` lists every event that may happen to it there and the state that
follows; anything else is an `IllegalTransition`. docs/emulator.md shows the table as `diagram` draws it.
"""

from enum import Enum


class NodeState(Enum):
    """Where a node is in its life. The first four are there; the next three sleep; the last four are not running."""

    NEW = "new"
    """It has not begun its first round."""
    READY = "ready"
    """It has finished a round, or started again, and has not begun the next round."""
    COMPUTING = "computing"
    """It has had a turn; the time that its computation takes has not passed."""
    WAITING = "waiting"
    """It waits for its neighbours, or for a deadline."""
    READY_ASLEEP = "ready, asleep"
    COMPUTING_ASLEEP = "computing, asleep"
    WAITING_ASLEEP = "waiting, asleep"
    ABSENT = "absent"
    """It joins late: it has never run, and the broker does not know it yet."""
    CRASHED_READY = "crashed after a round"
    """It was killed between two rounds: the round that it finished last is in its checkpoint."""
    CRASHED = "crashed in a round"
    """It was killed within a round, which it repeats after the checkpoint of the round before."""
    DONE = "done"
    """It has finished its last round, or has left for good."""


class NodeEvent(Enum):
    """What can happen to a node."""

    BEGIN = "begin a round"
    PAUSE = "must wait"
    RESUME = "resume"
    FINISH = "finish a round"
    END = "end"
    """after the last round"""
    SLEEP = "fall asleep"
    CRASH = "crash"
    RETURN = "return"
    """from sleep or from a crash"""
    LEAVE = "leave for good"


class IllegalTransition(RuntimeError):
    """An event happened to a node in a state in which it cannot: a defect of the emulator."""

    def __init__(self, state: NodeState, event: NodeEvent) -> None:
        super().__init__(f"a node that is {state.value!r} cannot {event.value!r}")


TRANSITIONS: dict[tuple[NodeState, NodeEvent], NodeState] = {
    # a round
    (NodeState.NEW, NodeEvent.BEGIN): NodeState.COMPUTING,
    (NodeState.READY, NodeEvent.BEGIN): NodeState.COMPUTING,
    (NodeState.COMPUTING, NodeEvent.PAUSE): NodeState.WAITING,
    (NodeState.WAITING, NodeEvent.RESUME): NodeState.COMPUTING,
    (NodeState.COMPUTING, NodeEvent.FINISH): NodeState.READY,
    (NodeState.COMPUTING, NodeEvent.END): NodeState.DONE,
    # sleep keeps what is in memory; who sleeps before the first round has nothing there
    (NodeState.NEW, NodeEvent.SLEEP): NodeState.ABSENT,
    (NodeState.READY, NodeEvent.SLEEP): NodeState.READY_ASLEEP,
    (NodeState.COMPUTING, NodeEvent.SLEEP): NodeState.COMPUTING_ASLEEP,
    (NodeState.WAITING, NodeEvent.SLEEP): NodeState.WAITING_ASLEEP,
    (NodeState.READY_ASLEEP, NodeEvent.RETURN): NodeState.READY,
    (NodeState.COMPUTING_ASLEEP, NodeEvent.RETURN): NodeState.COMPUTING,
    (NodeState.WAITING_ASLEEP, NodeEvent.RETURN): NodeState.WAITING,
    # a crash does not
    (NodeState.NEW, NodeEvent.CRASH): NodeState.ABSENT,
    (NodeState.READY, NodeEvent.CRASH): NodeState.CRASHED_READY,
    (NodeState.COMPUTING, NodeEvent.CRASH): NodeState.CRASHED,
    (NodeState.WAITING, NodeEvent.CRASH): NodeState.CRASHED,
    (NodeState.READY_ASLEEP, NodeEvent.CRASH): NodeState.CRASHED_READY,
    (NodeState.COMPUTING_ASLEEP, NodeEvent.CRASH): NodeState.CRASHED,
    (NodeState.WAITING_ASLEEP, NodeEvent.CRASH): NodeState.CRASHED,
    (NodeState.ABSENT, NodeEvent.RETURN): NodeState.NEW,
    (NodeState.CRASHED_READY, NodeEvent.RETURN): NodeState.READY,
    (NodeState.CRASHED, NodeEvent.RETURN): NodeState.READY,
    # who is away already stays as it is, only longer
    (NodeState.READY_ASLEEP, NodeEvent.SLEEP): NodeState.READY_ASLEEP,
    (NodeState.COMPUTING_ASLEEP, NodeEvent.SLEEP): NodeState.COMPUTING_ASLEEP,
    (NodeState.WAITING_ASLEEP, NodeEvent.SLEEP): NodeState.WAITING_ASLEEP,
    (NodeState.ABSENT, NodeEvent.SLEEP): NodeState.ABSENT,
    (NodeState.ABSENT, NodeEvent.CRASH): NodeState.ABSENT,
    (NodeState.CRASHED_READY, NodeEvent.SLEEP): NodeState.CRASHED_READY,
    (NodeState.CRASHED_READY, NodeEvent.CRASH): NodeState.CRASHED_READY,
    (NodeState.CRASHED, NodeEvent.SLEEP): NodeState.CRASHED,
    (NodeState.CRASHED, NodeEvent.CRASH): NodeState.CRASHED,
    # nobody comes back from the end
    **{(state, NodeEvent.LEAVE): NodeState.DONE for state in NodeState if state is not NodeState.DONE},
}

PRESENT = frozenset({NodeState.NEW, NodeState.READY, NodeState.COMPUTING, NodeState.WAITING})
"""A round is not over while one of these has not finished it."""
ASLEEP = frozenset({NodeState.READY_ASLEEP, NodeState.COMPUTING_ASLEEP, NodeState.WAITING_ASLEEP})
"""What these have in memory they go on with; messages for them wait."""

LEAVING = "    note left of DONE: from every state,<br>by leaving for good"


def following(state: NodeState, event: NodeEvent) -> NodeState:
    """Look up the state after `event`.

    Args:
        state: of the node when the event happens.
        event: what happens to it.

    Returns:
        The state that it is in then.

    Raises:
        IllegalTransition: the table has no such entry.
    """
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def diagram() -> str:
    """Draw the table as a Mermaid state diagram; those that change nothing, and leaving, are not lines."""
    labels: dict[tuple[NodeState, NodeState], list[str]] = {}
    for (state, event), after in TRANSITIONS.items():
        if state is not after and event is not NodeEvent.LEAVE:
            labels.setdefault((state, after), []).append(event.value)
    names = [f'    state "{state.value}" as {state.name}' for state in NodeState]
    edges = [f"    {a.name} --> {b.name}: {' / '.join(events)}" for (a, b), events in labels.items()]
    return "\n".join(["stateDiagram-v2", *names, "    [*] --> NEW", *edges, LEAVING, "    DONE --> [*]"])
