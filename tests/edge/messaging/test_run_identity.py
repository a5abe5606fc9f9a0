"""Runs: how devices agree on one without a coordinator, and that nothing of another run has any effect."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from edge.codec import RETRANSMIT, Greeting, encode, greeting, request
from edge.interfaces import Delivery, Exchange, Message
from edge.kinds import SOFT_LABELS
from edge.messaging.greeter import YOUNG
from edge.messaging.inbox import Inbox
from edge.messaging.joining import patience
from edge.messaging.mailbox import Mailbox, Waiting
from edge.messaging.run_identity import RunIdentity, label, named
from edge.transports.memory import Network

DIGEST = b"12345678"
FORM = SOFT_LABELS.format(DIGEST, (1, 1))
NAMES = ("a", "b", "c", "d")
TIMEOUT = 30.0


@dataclass
class Party:
    """A device on a ring of four that looks for a run."""

    network: Network
    me: str
    clock: list[float]
    run: int = 0
    names: tuple[str, ...] = NAMES
    joining: Generator[Waiting, None, None] = field(init=False)

    def __post_init__(self) -> None:
        i, n = self.names.index(self.me), len(self.names)
        self.neighbours = sorted({self.names[i - 1], self.names[(i + 1) % n]})
        inbox = Inbox(dict.fromkeys(self.neighbours, (FORM,)), RunIdentity(self.run))
        transport = self.network.attach(self.me)
        self.mailbox = Mailbox(transport, inbox, {"soft-labels": "float32"}, lambda: self.clock[0])
        self.joining = self.mailbox.join(i, TIMEOUT)

    @property
    def found(self) -> int:
        return self.mailbox.identity.run

    def send(self, number: int) -> None:
        """Send the message of a round to all neighbours."""
        message = Message("soft-labels", number, DIGEST, np.ones((1, 1), np.float32))
        self.mailbox.send(Exchange(dict.fromkeys(self.neighbours, (message,)), {}))


def join(parties: list[Party], seconds: float = 0.0) -> None:
    """Let them talk until all are in a run and nothing is under way, or the clock has gone on by `seconds`."""
    clock = parties[0].clock
    end = clock[0] + seconds
    while True:
        waits = [step.until for party in parties if (step := next(party.joining, None))]
        for party in parties:
            if party.found:
                party.mailbox.read()
        if any(party.mailbox.transport.queue.wait(0) for party in parties):  # type: ignore[attr-defined]
            continue
        if not waits or min(waits) > end:
            return
        clock[0] = min(waits)


def fleet(*names: str, network: Network | None = None, clock: list[float] | None = None) -> list[Party]:
    network, clock = network or Network("f"), clock or [0.0]
    return [Party(network, name, clock) for name in names]


def test_a_fleet_that_starts_agrees_at_once() -> None:
    """The first of the order draws a number as soon as its neighbours have answered; no time passes."""
    parties = fleet(*NAMES)
    join(parties)
    assert len({party.found for party in parties}) == 1
    assert parties[0].found
    assert all(sum(party.mailbox.inbox.counts.values()) == 0 for party in parties)
    others = fleet(*NAMES)
    join(others)
    assert others[0].found != parties[0].found


def test_without_the_first_device_the_next_one_names_the_run() -> None:
    parties = fleet("b", "c", "d")
    join(parties, 100.0)
    assert len({party.found for party in parties}) == 1
    assert parties[0].found
    assert parties[0].clock[0] < patience(2, TIMEOUT)  # c did not need to


@pytest.mark.parametrize("me", NAMES)
def test_a_device_without_state_joins_the_run_of_its_neighbours(me: str) -> None:
    """Also the first of the order."""
    parties = fleet(*NAMES)
    join(parties)
    run = parties[0].found
    parties = [party for party in parties if party.me != me]
    again = Party(parties[0].network, me, parties[0].clock)
    join([*parties, again], 5.0)
    assert again.found == run


def test_the_messages_of_a_run_that_is_over_are_refused_and_counted() -> None:
    """A fleet is wiped and started anew, and the broker still has what was sent before: data, requests and answers."""
    network, clock, pair = Network("f"), [0.0], ("a", "b")
    old = [Party(network, name, clock, names=pair) for name in pair]
    join(old)
    queued: list[tuple[str, Delivery]] = []
    network._carry = lambda receiver, _topic, delivery: queued.append((receiver, delivery))
    for number in (1, 2, 40):
        old[0].send(number)
    old[0].mailbox.transport.send("b", RETRANSMIT, request("soft-labels", 41, bytes(8), run=old[0].found))
    stale = Greeting(old[0].found, 40, old[0].mailbox.identity.session, old[1].mailbox.identity.session)
    old[0].mailbox.transport.send("b", RETRANSMIT, greeting(stale))
    network._carry = None
    new = [Party(network, name, clock, names=pair) for name in pair]
    for receiver, delivery in queued:
        network.arrive(receiver, delivery)
    join(new)
    assert new[0].found == new[1].found != old[0].found
    inbox = new[1].mailbox.inbox
    assert inbox.counts["run"] == 4  # three messages and a request
    assert inbox.majority_round() == 0
    assert inbox.newest("a") == 0
    assert inbox.take("a", "soft-labels") is None
    new[0].send(1)
    new[1].mailbox.read()
    assert inbox.take("a", "soft-labels") is not None


def test_two_runs_that_meet_in_their_first_rounds_become_one() -> None:
    """The smaller number, on all devices, also on those that do not meet the other half themselves."""
    clock, network = [0.0], Network("f")
    runs = {"a": 900, "b": 900, "c": 7, "d": 7}
    parties = [Party(network, name, clock, run) for name, run in runs.items()]
    for party in parties:
        list(party.joining)
        party.send(1)
    for _ in range(10):
        clock[0] += 2.0
        for party in parties:
            party.mailbox.read()
    assert [party.found for party in parties] == [7, 7, 7, 7]


def test_two_runs_that_meet_later_stay_apart(caplog: pytest.LogCaptureFixture) -> None:
    """Whose parameters are to be used is for people to say; what is sent has no effect meanwhile."""
    clock, network = [0.0], Network("f")
    parties = [Party(network, name, clock, run, ("a", "b")) for name, run in (("a", 900), ("b", 7))]
    for number in range(YOUNG + 1, YOUNG + 4):
        for party in parties:
            party.mailbox.inbox.open(number)
            party.send(number)
        clock[0] += 2.0
        for party in 3 * parties:
            party.mailbox.read()
    assert [party.found for party in parties] == [900, 7]
    for party in parties:
        assert party.mailbox.inbox.counts["run"] == 3
        assert party.mailbox.inbox.take(party.neighbours[0], "soft-labels") is None
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2  # one on each device, not one a message
    assert f"b is in run {label(7)}, this device in run {label(900)}" in lines[0] + lines[1]
    assert "--fresh" in lines[0]


def test_no_single_neighbour_can_talk_a_young_device_out_of_its_run() -> None:
    clock, network = [0.0], Network("f")
    parties = [Party(network, name, clock, 900) for name in NAMES]
    a = parties[0]
    lie = Greeting(5, 100, b"whatever", a.mailbox.identity.session)
    a.mailbox.transport.queue.put(Delivery("b", RETRANSMIT, greeting(lie)))  # type: ignore[attr-defined]
    a.mailbox.read()
    assert a.found == 900
    a.mailbox.transport.queue.put(Delivery("d", RETRANSMIT, greeting(lie)))  # type: ignore[attr-defined]
    a.mailbox.read()
    assert a.found == 5  # all of them say so


def test_only_an_answer_to_this_life_counts() -> None:
    clock, network = [0.0], Network("f")
    b = Party(network, "b", clock, 0, ("a", "b"))
    network.attach("a")
    next(b.joining)
    for words in (Greeting(5, 1, b"whatever"), Greeting(5, 1, b"whatever", b"not mine")):
        b.mailbox.transport.queue.put(Delivery("a", RETRANSMIT, greeting(words)))  # type: ignore[attr-defined]
        next(b.joining)
    assert b.found == 0
    words = replace(words, answers=b.mailbox.identity.session)
    b.mailbox.transport.queue.put(Delivery("a", RETRANSMIT, greeting(words)))  # type: ignore[attr-defined]
    assert next(b.joining, None) is None
    assert b.found == 5


def test_a_flood_of_questions_is_answered_once_a_second() -> None:
    clock, network = [0.0], Network("f")
    a = Party(network, "a", clock, 900, ("a", "b"))
    b = network.attach("b")
    for _ in range(100):
        b.send("a", RETRANSMIT, greeting(Greeting(0, 1, b"whatever", asks=True)))
    a.mailbox.read()
    assert len(b.receive()) == 1


def test_version_1_is_understood_until_a_neighbour_has_named_its_run() -> None:
    clock, network = [0.0], Network("f")
    a = Party(network, "a", clock, 900, ("a", "b"))
    values = np.ones((1, 1), np.float32)

    def arrives(number: int, run: int | None) -> bool:
        (payload,) = encode(Message("soft-labels", number, DIGEST, values), "float32", run=run)
        a.mailbox.inbox.open(number)
        a.mailbox.inbox.put(Delivery("b", "soft-labels", payload))
        return a.mailbox.inbox.take("b", "soft-labels") is not None

    assert [arrives(1, None), arrives(2, 900), arrives(3, None)] == [True, True, False]
    assert a.mailbox.inbox.counts["run"] == 1


def test_a_run_with_a_name_is_the_same_everywhere_and_needs_no_question() -> None:
    assert named("f", "spring") == named("f", "spring")
    assert len({named("f", "spring"), named("f", "summer"), named("g", "spring")}) == 3
    party = Party(Network("f"), "a", [0.0], named("f", "spring"))
    assert list(party.joining) == []
