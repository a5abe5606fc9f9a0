"""The loop: patience, asking again, and catching up."""

import random
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.codec import RETRANSMIT, decode, encode
from edge.interfaces import Engine, Exchange, ExchangeResult, Message, Metrics, NodeId
from edge.kinds import SOFT_LABELS, WEIGHTS
from edge.messaging.inbox import Inbox
from edge.messaging.linger import LINGER
from edge.messaging.mailbox import Mailbox, Waiting
from edge.messaging.retransmission import REQUEST_INTERVAL
from edge.node import Row, rounds, run
from edge.transports.memory import Memory, Network
from tests.conformance.test_codec import distributions

DIGEST = b"12345678"


@dataclass
class Echo:
    """Says its round number and remembers what it heard."""

    KIND = "soft-labels"
    me: str
    neighbours: tuple[str, ...]
    heard: dict[int, dict[str, float]] = field(default_factory=dict)
    shape: tuple[int, int] = (1, 1)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        values = np.full((1, 1), number, np.float32) if self.shape == (1, 1) else distributions(*self.shape, 0)
        message = Message("soft-labels", number, DIGEST, values)
        answers = yield Exchange(
            dict.fromkeys(self.neighbours, (message,)), dict.fromkeys(self.neighbours, ("soft-labels",))
        )
        self.heard[number] = {j: float(values[0, 0]) for j, values in answers.of("soft-labels").items()}
        return {"loss": 0.0}


@dataclass
class Party:
    """One device on the network, stepped by hand."""

    network: Network
    me: str
    neighbours: tuple[str, ...]
    clock: list[float]
    first: int = 1
    last: int = 5
    coding: str = "float32"
    shape: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        self.transport: Memory = self.network.attach(self.me)
        self.protocol = Echo(self.me, self.neighbours, shape=self.shape)
        self.inbox = Inbox(dict.fromkeys(self.neighbours, (SOFT_LABELS.format(DIGEST, self.shape),)))
        self.steps = rounds(
            self.protocol,  # type: ignore[arg-type]
            None,  # type: ignore[arg-type]
            Mailbox(self.transport, self.inbox, {"soft-labels": self.coding}, lambda: self.clock[0]),
            first=self.first,
            last=self.last,
            round_timeout=10.0,
        )

    def step(self) -> Waiting | Row | None:
        return next(self.steps, None)


def pair() -> tuple[Party, Party, list[float]]:
    network, clock = Network("f"), [0.0]
    return Party(network, "a", ("b",), clock), Party(network, "b", ("a",), clock), clock


def test_two_devices_in_step() -> None:
    a, b, _ = pair()
    for number in range(1, 6):
        assert isinstance(a.step(), Waiting)
        row_b, row_a = b.step(), a.step()
        assert isinstance(row_a, dict)
        assert isinstance(row_b, dict)
        assert row_a["round"] == row_b["round"] == number
        assert row_a["timeouts"] == row_b["timeouts"] == 0
    assert a.step() is None
    assert a.protocol.heard == {n: {"b": float(n)} for n in range(1, 6)}


def test_patience_ends() -> None:
    a, _, clock = pair()
    waiting = a.step()
    assert waiting == Waiting(("b",), REQUEST_INTERVAL)
    clock[0] = 9.9
    assert isinstance(a.step(), Waiting)
    clock[0] = 10.0
    row = a.step()
    assert isinstance(row, dict)
    assert row["timeouts"] == 1
    assert row["seconds"] == 10.0
    assert a.protocol.heard == {1: {}}


def test_a_lost_message_is_asked_for_and_said_again() -> None:
    a, b, clock = pair()
    send = a.transport.send
    a.transport.send = lambda *_: None  # type: ignore[method-assign]
    a.step()  # says round 1 into the void
    a.transport.send = send  # type: ignore[method-assign]
    b.step()
    assert isinstance(a.step(), dict)  # a has heard b and goes on; b has not heard a
    a.step()
    assert isinstance(b.step(), Waiting)
    clock[0] = REQUEST_INTERVAL
    b.step()  # b asks
    assert a.transport.inbox.wait(0)
    a.step()  # a says it again
    row = b.step()
    assert isinstance(row, dict)
    assert (row["round"], row["timeouts"]) == (1.0, 0.0)
    assert b.protocol.heard[1] == {"a": 1.0}


def test_a_change_of_a_lost_message_is_asked_for_at_once() -> None:
    """Coded as changes over a link that loses rounds 2 and 5: all is heard, and only the lost ones take time."""
    network, clock = Network("f"), [0.0]
    a, b = (
        Party(network, me, (other,), clock, last=7, coding="delta15", shape=(200, 10))
        for me, other in (("a", "b"), ("b", "a"))
    )
    send = a.transport.send
    lost = [2, 5]

    def lossy(receiver: str, kind: str, payload: bytes) -> None:
        if lost and kind != RETRANSMIT and decode(payload).round == lost[0]:
            lost.pop(0)
        else:
            send(receiver, kind, payload)

    a.transport.send = lossy  # type: ignore[method-assign]
    while sorted(b.protocol.heard) != list(range(1, 8)):
        rows = [a.step(), b.step()]
        assert all(row["timeouts"] == 0 for row in rows if isinstance(row, dict))
        idle = not a.transport.inbox.wait(0) and not b.transport.inbox.wait(0)
        if idle and all(isinstance(row, Waiting) for row in rows):
            clock[0] = min(row.until for row in rows if isinstance(row, Waiting))
    assert clock[0] == 2 * REQUEST_INTERVAL
    assert lost == []
    assert b.inbox.counts["missing_base"] == 2  # the message after each lost one had a change that fell away with it
    assert {cause: n for cause, n in b.inbox.counts.items() if n} == {"missing_base": 2}


@pytest.mark.parametrize(("shape", "pauses"), [((1, 1), [2, 4, 4, 4, 4]), ((1, 200_000), [2, 4, 8, 16, 32])])
def test_how_long_a_device_waits_before_it_asks_again(shape: tuple[int, int], pauses: list[float]) -> None:
    """Messages of several payloads may be long under way, and what is asked for comes behind them."""
    network, clock = Network("f"), [0.0]
    network.attach("b")
    inbox = Inbox({"b": (WEIGHTS.format(DIGEST, shape),)})
    listening = Mailbox(network.attach("a"), inbox, {}, lambda: clock[0]).collect({"b": ("weights",)}, 1, deadline=1e9)
    times = [0.0]
    for _ in pauses:
        clock[0] = next(listening).until
        times.append(clock[0])
    assert list(np.diff(times)) == pauses


@pytest.mark.parametrize("coding", ["float32", "difference8"])
def test_only_the_chunks_that_are_missing_are_said_again(coding: str) -> None:
    """Of a message in three payloads the second is lost: the request names it, and it alone comes again."""
    network, clock = Network("f"), [0.0]
    form = WEIGHTS.format(DIGEST, (1, 1_500_000 if coding == "difference8" else 300_000))
    mailboxes = []
    for me, other in (("a", "b"), ("b", "a")):
        inbox = Inbox({other: (form,)})
        mailboxes.append(Mailbox(network.attach(me), inbox, {"weights": coding}, lambda: clock[0]))
    a, b = mailboxes
    values = np.random.default_rng(0).standard_normal(form.shape).astype(np.float32)
    send, sent = a.transport.send, []

    def lossy(receiver: str, kind: str, payload: bytes) -> None:
        sent.append(decode(payload))
        if not (sent[-1].index == 1 and len(sent) == 2):
            send(receiver, kind, payload)

    first, second = (Message("weights", n, DIGEST, values + np.float32(0.01 * n)) for n in (1, 2))
    a.send(Exchange({"b": (first,)}, {}))
    b.read()
    assert b.inbox.take("a", "weights") is not None
    for mailbox in mailboxes:
        mailbox.inbox.open(2)
    a.transport.send = lossy  # type: ignore[method-assign]
    told = a.send(Exchange({"b": (second,)}, {}))["b"]["weights"]
    listening = b.collect({"a": ("weights",)}, 2, deadline=60.0)
    clock[0] = next(listening).until
    next(listening)  # asks
    a.read()
    with pytest.raises(StopIteration) as done:
        next(listening)
    assert [chunk.index for chunk in sent] == [0, 1, 2, 1]
    np.testing.assert_array_equal(done.value.value["a"]["weights"].values, told.values)
    np.testing.assert_allclose(told.values, second.values, atol=1e-3)


def test_asking_often_is_answered_seldom() -> None:
    a, b, _ = pair()
    a.step()
    from edge.codec import request

    before = a.transport.traffic.messages_sent
    for _ in range(50):
        b.transport.send("a", RETRANSMIT, request("soft-labels", 1, DIGEST))
    a.step()
    assert a.transport.traffic.messages_sent == before + 1


def test_who_was_away_catches_up() -> None:
    """b starts when a and c are far ahead: it gives up its rounds and joins theirs."""
    network, clock = Network("f"), [0.0]
    b = Party(network, "b", ("a", "c"), clock, last=60)
    for other in ("a", "c"):
        transport = network.attach(other)
        for number in range(40, 44):
            message = Message("soft-labels", number, DIGEST, np.full((1, 1), number, np.float32))
            for payload in encode(message, "float32"):
                transport.send("b", "soft-labels", payload)
    row = b.step()
    assert isinstance(row, dict)
    assert (row["round"], row["timeouts"]) == (1.0, 2.0)  # at once: what has gone by will not be said again
    b.step()
    assert clock[0] == 0.0
    assert max(b.protocol.heard) == 1
    clock[0] = 10.0
    following = b.step()
    assert isinstance(following, dict)
    assert following["round"] == 43.0


def leaving_and_listening(loss: Callable[[], bool]) -> tuple[Mailbox, Mailbox, list[float]]:
    """(a, which has said its last message and was heard by nobody; b, which a has heard; the clock they share)."""
    network, clock = Network("f"), [0.0]
    form = SOFT_LABELS.format(DIGEST, (1, 1))
    message = Message("soft-labels", 1, DIGEST, np.ones((1, 1), np.float32))
    mailboxes = [
        Mailbox(network.attach(me), Inbox({other: (form,)}), {"soft-labels": "float32"}, lambda: clock[0])
        for me, other in (("a", "b"), ("b", "a"))
    ]
    a, b = mailboxes
    b.send(Exchange({"a": (message,)}, {}))
    for mailbox in mailboxes:

        def send(*words: Any, whole: Callable[..., None] = mailbox.transport.send) -> None:
            if not loss():
                whole(*words)

        mailbox.transport.send = send  # type: ignore[assignment, method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(a.transport, "send", lambda *_: None)
        a.send(Exchange({"b": (message,)}, {}))
    return a, b, clock


def test_who_is_done_answers_until_all_are() -> None:
    """b has missed a's last message: a, which has finished, says it again before it goes."""
    a, b, _ = leaving_and_listening(lambda: False)
    leaving, listening = a.linger(1, 60.0), b.collect({"a": ("soft-labels",)}, 1, deadline=60.0)
    assert next(leaving).missing == ("b",)  # says that it is done
    next(listening)  # asks at once: what a said before is lost
    next(leaving)  # answers
    with pytest.raises(StopIteration) as done:
        next(listening)
    assert set(done.value.value["a"]) == {"soft-labels"}
    assert list(b.linger(1, 60.0)) == []  # a has said that it is done
    assert list(leaving) == []


@pytest.mark.parametrize(("loss", "at_most"), [(0.0, 0), (0.3, 3)])
def test_where_much_is_lost_who_is_done_is_still_heard(loss: float, at_most: int) -> None:
    """Of 1,000; 17 are missed if b does not ask when it is told that a is done, 64 if a stays LINGER in all."""
    missed = 0
    for seed in range(1000):
        chance = random.Random(seed)
        a, b, clock = leaving_and_listening(lambda chance=chance: chance.random() < loss)  # type: ignore[misc]
        ends = {"a": a.linger(1, 120.0), "b": b.collect({"a": ("soft-labels",)}, 1, deadline=120.0)}
        heard: dict[NodeId, dict[str, Message]] = {}
        while "b" in ends:
            waiting = []
            for name, talk in list(ends.items()):
                try:
                    waiting.append(next(talk).until)
                except StopIteration as done:
                    del ends[name]
                    heard = done.value if name == "b" else heard
            clock[0] = max(clock[0] + 0.1, min([clock[0] + 1.0, *waiting]))
        missed += not heard
    assert missed <= at_most


def test_nobody_waits_for_ever_for_who_does_not_answer() -> None:
    network, clock = Network("f"), [0.0]
    network.attach("b")
    mailbox = Mailbox(network.attach("a"), Inbox({"b": (SOFT_LABELS.format(DIGEST, (1, 1)),)}), {}, lambda: clock[0])
    assert list(mailbox.linger(9, 60.0)) == []  # never heard of
    mailbox.inbox.reached("b", 9)
    for waiting in mailbox.linger(9, 60.0):
        assert waiting.missing == ("b",)
        clock[0] = waiting.until
    assert clock[0] == LINGER


def test_a_clock_that_jumps_costs_a_round_and_no_more() -> None:
    """Forward by a day: patience is over at once. Backward: the wait starts anew at most. Then all is as before."""
    a, b, clock = pair()
    a.step()
    clock[0] += 86_400
    row = a.step()
    assert isinstance(row, dict)
    assert row["timeouts"] == 1
    clock[0] -= 2 * 86_400
    rows = []
    for _ in range(40):
        rows += [row for row in (a.step(), b.step()) if isinstance(row, dict)]
        if all(isinstance(step, Waiting) for step in (a.step(), b.step())):
            clock[0] += REQUEST_INTERVAL
    assert rows[-1]["timeouts"] == 0
    assert max(b.protocol.heard) == 5


def test_nothing_on_the_device_reads_the_wall_clock() -> None:
    """So that a clock set by hand or by the network changes nothing: only `time.monotonic` is used."""
    root = Path(__file__).parents[2] / "edge"
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] != "bench":  # a power meter's log has its own clock, which is the wall's
            assert "time.time(" not in path.read_text(), path


def test_run_sleeps_where_the_loop_waits() -> None:
    a, b, clock = pair()
    slept: list[float] = []

    def wait(seconds: float) -> bool:
        slept.append(seconds)
        if len(slept) == 1:
            b.step()  # the neighbour speaks while we sleep
        else:
            clock[0] += seconds
        return True

    a.transport.wait = wait  # type: ignore[method-assign]
    rows = run(a.steps, a.transport, lambda: clock[0])
    assert next(rows)["timeouts"] == 0
    assert next(rows)["timeouts"] == 1
    assert slept[0] == REQUEST_INTERVAL
    assert sum(slept[1:]) == 10.0
