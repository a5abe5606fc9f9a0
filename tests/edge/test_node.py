"""The loop: timeouts, retransmission, and catching up."""

from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from edge.codec import RETRANSMIT, decode, encode
from edge.interfaces import Engine, Exchange, ExchangeResult, Message, Metrics
from edge.kinds import SOFT_LABELS
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox, Waiting
from edge.messaging.retransmission import REQUEST_INTERVAL
from edge.node import Row, rounds, run
from edge.transports.memory import MemoryTransport, Network
from tests.conformance.test_codec import distributions

DIGEST = b"12345678"


@dataclass
class Echo:
    """Sends its round number and remembers what it received."""

    KIND = "soft-labels"
    me: str
    neighbours: tuple[str, ...]
    received: dict[int, dict[str, float]] = field(default_factory=dict)
    shape: tuple[int, int] = (1, 1)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        values = np.full((1, 1), number, np.float32) if self.shape == (1, 1) else distributions(*self.shape, 0)
        message = Message("soft-labels", number, DIGEST, values)
        answers = yield Exchange(
            dict.fromkeys(self.neighbours, (message,)), dict.fromkeys(self.neighbours, ("soft-labels",))
        )
        self.received[number] = {j: float(values[0, 0]) for j, values in answers.of("soft-labels").items()}
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
        self.transport: MemoryTransport = self.network.attach(self.me)
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
    assert a.protocol.received == {n: {"b": float(n)} for n in range(1, 6)}


def test_a_round_times_out() -> None:
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
    assert a.protocol.received == {1: {}}


def test_a_lost_message_is_requested_and_sent_again() -> None:
    a, b, clock = pair()
    send = a.transport.send
    a.transport.send = lambda *_: None  # type: ignore[method-assign]
    a.step()  # its message of round 1 is lost
    a.transport.send = send  # type: ignore[method-assign]
    b.step()
    assert isinstance(a.step(), dict)  # a has b's message and goes on; b has not got a's
    a.step()
    assert isinstance(b.step(), Waiting)
    clock[0] = REQUEST_INTERVAL
    b.step()  # b requests it
    assert a.transport.queue.wait(0)
    a.step()  # a sends it again
    row = b.step()
    assert isinstance(row, dict)
    assert (row["round"], row["timeouts"]) == (1.0, 0.0)
    assert b.protocol.received[1] == {"a": 1.0}


def test_a_delta_to_a_lost_message_is_requested_at_once() -> None:
    """Deltas over a link that loses rounds 2 and 5: all messages arrive, and only the lost ones take time."""
    network, clock = Network("f"), [0.0]
    a, b = (
        Party(network, me, (other,), clock, last=7, coding="delta:15", shape=(200, 10))
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
    while sorted(b.protocol.received) != list(range(1, 8)):
        rows = [a.step(), b.step()]
        assert all(row["timeouts"] == 0 for row in rows if isinstance(row, dict))
        idle = not a.transport.queue.wait(0) and not b.transport.queue.wait(0)
        if idle and all(isinstance(row, Waiting) for row in rows):
            clock[0] = min(row.until for row in rows if isinstance(row, Waiting))
    assert clock[0] == 2 * REQUEST_INTERVAL
    assert lost == []
    assert b.inbox.counts["missing_base"] == 2  # the delta after each lost message came without its base
    assert {cause: n for cause, n in b.inbox.counts.items() if n} == {"missing_base": 2}


def test_frequent_requests_are_answered_seldom() -> None:
    a, b, _ = pair()
    a.step()
    from edge.codec import request

    before = a.transport.traffic.messages_sent
    for _ in range(50):
        b.transport.send("a", RETRANSMIT, request("soft-labels", 1, DIGEST))
    a.step()
    assert a.transport.traffic.messages_sent == before + 1


def test_a_device_that_was_away_catches_up() -> None:
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
    assert (row["round"], row["timeouts"]) == (1.0, 2.0)  # at once: what has gone by is no longer kept
    b.step()
    assert clock[0] == 0.0
    assert max(b.protocol.received) == 1
    clock[0] = 10.0
    following = b.step()
    assert isinstance(following, dict)
    assert following["round"] == 43.0


def test_a_clock_that_jumps_costs_a_round_and_no_more() -> None:
    """Forward by a day: the round times out at once. Backward: the wait starts anew at most. Then all is as before."""
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
    assert max(b.protocol.received) == 5


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
