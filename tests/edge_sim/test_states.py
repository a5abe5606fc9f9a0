"""The states of an emulated node: the table, what uses it, and the picture in the documentation."""

from collections import deque
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from edge_sim import states
from edge_sim.node_record import NodeRecord
from edge_sim.run import run
from edge_sim.scenario import Scenario
from edge_sim.states import ASLEEP, PRESENT, TRANSITIONS, IllegalTransition, NodeEvent, NodeState, following
from tests.edge_sim.test_events import ROUGH, SMALL

DOCUMENT = Path(__file__).parents[2] / "docs" / "emulator.md"


def reachable(start: NodeState) -> set[NodeState]:
    """From there, itself included."""
    seen, frontier = {start}, deque([start])
    while frontier:
        here = frontier.popleft()
        for (state, _), after in TRANSITIONS.items():
            if state is here and after not in seen:
                seen.add(after)
                frontier.append(after)
    return seen


def test_every_state_can_be_reached_and_leads_to_the_end() -> None:
    assert reachable(NodeState.NEW) == set(NodeState)
    for state in NodeState:
        assert NodeState.DONE in reachable(state)
    assert reachable(NodeState.DONE) == {NodeState.DONE}


@pytest.mark.parametrize(("state", "event"), [*product(NodeState, NodeEvent)], ids=lambda value: value.name)
def test_a_transition_is_in_the_table_or_an_error_that_names_both(state: NodeState, event: NodeEvent) -> None:
    record = NodeRecord(state)
    if (state, event) in TRANSITIONS:
        assert following(state, event) is TRANSITIONS[state, event]
        record.change(event)
        assert record.state is TRANSITIONS[state, event]
        return
    with pytest.raises(IllegalTransition) as raised:
        record.change(event)
    assert repr(state.value) in str(raised.value)
    assert repr(event.value) in str(raised.value)
    assert record.state is state


def test_only_absences_change_who_is_present() -> None:
    absences = {NodeEvent.SLEEP, NodeEvent.CRASH, NodeEvent.LEAVE, NodeEvent.RETURN}
    for (state, event), after in TRANSITIONS.items():
        if event not in absences:
            assert state in PRESENT
            assert after in PRESENT or event is NodeEvent.END
        elif event is NodeEvent.RETURN:
            assert state not in PRESENT
            assert after in PRESENT
        else:
            assert after not in PRESENT
        if after in ASLEEP:
            assert event is NodeEvent.SLEEP


TWICE = {
    "absences": [
        {"of": "0", "at": 0.35, "seconds": 0.2},  # killed in a round; the same again before it is back
        {"of": "0", "at": 0.4, "seconds": 0.1},
        {"of": "0", "at": 0.45, "seconds": 0.3, "asleep": True},
        {"of": "1", "at": 0.35, "seconds": 0.6, "asleep": True},  # asleep, and again, then killed asleep
        {"of": "1", "at": 0.45, "seconds": 0.6, "asleep": True},
        {"of": "1", "at": 0.75, "seconds": 0.2},
        {"of": "2", "at": 0.0, "seconds": 0.3, "asleep": True},  # late, and later, and never
        {"of": "2", "at": 0.1, "seconds": 0.4},
        {"of": "2", "at": 0.2, "seconds": 0.4, "asleep": True},
        {"of": "2", "at": 0.3},
        {"of": "3", "at": 0.35},  # leaves while it waits
    ],
    "latency": 0.1,
    "round_timeout": 2.0,
}


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> set[tuple[NodeState, NodeEvent]]:
    """The transitions that runs have made."""
    pairs: set[tuple[NodeState, NodeEvent]] = set()

    def noted(state: NodeState, event: NodeEvent) -> NodeState:
        pairs.add((state, event))
        return following(state, event)

    monkeypatch.setattr(states, "following", noted)
    return pairs


def test_runs_use_the_table(used: set[tuple[NodeState, NodeEvent]]) -> None:
    """Rounds, sleep, crashes in every state that lasts, and absences within absences."""
    for changes in (ROUGH, TWICE):
        scenario: dict[str, Any] = {**SMALL, "devices": 6, **changes}
        run(Scenario(**scenario))
    S, E = NodeState, NodeEvent
    lasting = {
        (S.NEW, E.BEGIN),
        (S.READY, E.BEGIN),
        (S.COMPUTING, E.PAUSE),
        (S.WAITING, E.RESUME),
        (S.COMPUTING, E.FINISH),
        (S.COMPUTING, E.END),
        (S.NEW, E.CRASH),
        (S.NEW, E.SLEEP),
        (S.ABSENT, E.CRASH),
        (S.ABSENT, E.SLEEP),
        (S.ABSENT, E.RETURN),
        (S.ABSENT, E.LEAVE),
        (S.WAITING, E.SLEEP),
        (S.WAITING_ASLEEP, E.SLEEP),
        (S.WAITING_ASLEEP, E.CRASH),
        (S.WAITING_ASLEEP, E.RETURN),
        (S.WAITING, E.CRASH),
        (S.CRASHED, E.CRASH),
        (S.CRASHED, E.SLEEP),
        (S.CRASHED, E.RETURN),
        (S.WAITING, E.LEAVE),
    }
    assert lasting <= used, sorted(f"{s.value}: {e.value}" for s, e in lasting - used)


def test_two_absences_that_end_together_end_once() -> None:
    base: dict[str, Any] = {**SMALL, "latency": 0.1, "round_timeout": 100.0}
    once = {"of": "1", "at": 0.25, "seconds": 1.0}
    alone = run(Scenario(**base, absences=[once]))
    doubled = run(Scenario(**base, absences=[once, {"of": "1", "at": 0.75, "seconds": 0.5}]))
    assert [one.devices for one in doubled.rounds] == [one.devices for one in alone.rounds]
    assert [d.accuracy_all for d in doubled.devices] == [d.accuracy_all for d in alone.devices]
    assert doubled.virtual_seconds == alone.virtual_seconds


def test_the_picture_in_the_documentation_is_the_table() -> None:
    assert f"```mermaid\n{states.diagram()}\n```" in DOCUMENT.read_text()
