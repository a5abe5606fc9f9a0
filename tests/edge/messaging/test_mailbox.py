"""The mailbox as a whole: requests, answers, lingering; and that it can move to another process."""

import pickle
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edge.codec import RETRANSMIT, decode
from edge.interfaces import Exchange, Message, NodeId
from edge.kinds import SOFT_LABELS, WEIGHTS
from edge.messaging.inbox import Inbox
from edge.messaging.linger import LINGER
from edge.messaging.mailbox import Mailbox, MailboxSnapshot, Waiting
from edge.transports.memory import MemoryTransport, Network
from tests.conformance.test_codec import distributions

DIGEST = b"12345678"
FORMS = {"float32": SOFT_LABELS.format(DIGEST, (20, 10)), "delta:15": SOFT_LABELS.format(DIGEST, (200, 10))}
Log = list[tuple[str, str, bytes]]


def mailbox(network: Network, me: str, other: str, coding: str, now: Callable[[], float]) -> Mailbox:
    return Mailbox(network.attach(me), Inbox({other: (FORMS[coding],)}), {"soft-labels": coding}, now)


def moved(box: Mailbox, network: Network, me: str, other: str, coding: str, now: Callable[[], float]) -> Mailbox:
    """Another mailbox in the place of `box`, with what is left of a snapshot after pickling."""
    snapshot: MailboxSnapshot = pickle.loads(pickle.dumps(box.snapshot()))
    traffic = pickle.loads(pickle.dumps(box.transport.traffic.snapshot()))
    unread = box.transport.receive()
    new = mailbox(network, me, other, coding, now)
    new.restore(snapshot)
    for delivery in unread:
        network.arrive(me, delivery)
    new.transport.traffic.restore(traffic)
    return new


def played(coding: str, seed: int, move: bool) -> tuple[Log, dict[str, dict[int, np.ndarray]], list[object]]:
    """Twelve rounds of two devices over a network that loses a third; all that was sent, received, and counted."""
    clock, chance, log = [0.0], random.Random(seed), Log()
    carried = Network("f")

    def carry(receiver: str, _topic: str, delivery: object) -> None:
        log.append((receiver, delivery.kind, delivery.payload))  # type: ignore[attr-defined]
        if chance.random() > 0.33:
            carried.arrive(receiver, delivery)  # type: ignore[arg-type]

    carried = Network("f", carry)
    names = {"a": "b", "b": "a"}
    boxes = {me: mailbox(carried, me, other, coding, lambda: clock[0]) for me, other in names.items()}
    received: dict[str, dict[int, np.ndarray]] = {"a": {}, "b": {}}
    for number in range(1, 13):
        if move:
            boxes = {me: moved(boxes[me], carried, me, other, coding, lambda: clock[0]) for me, other in names.items()}
        waiting = {}
        for me, other in names.items():
            boxes[me].inbox.open(number)
            values = distributions(*FORMS[coding].shape, number)
            boxes[me].send(Exchange({other: (Message("soft-labels", number, DIGEST, values),)}, {}))
            waiting[me] = boxes[me].collect({other: ("soft-labels",)}, number, deadline=clock[0] + 30.0)
        while waiting:
            steps: list[Waiting] = []
            for me in sorted(waiting):
                try:
                    steps.append(next(waiting[me]))
                except StopIteration as end:
                    del waiting[me]
                    for message in end.value.get(names[me], {}).values():
                        received[me][number] = message.values
            for me in set(names) - set(waiting):
                boxes[me].read()
            clock[0] = min([clock[0] + 1.0, *(step.until for step in steps)])
    return (
        log,
        received,
        [(box.inbox.counts, box.inbox.majority_round(), box.transport.traffic) for box in boxes.values()],
    )


@pytest.mark.parametrize("coding", sorted(FORMS))
@pytest.mark.parametrize("seed", range(5))
def test_a_mailbox_that_moves_between_rounds_behaves_like_one_that_stays(coding: str, seed: int) -> None:
    """Byte for byte what it sends, and everything it receives and counts."""
    log, received, counts = played(coding, seed, move=False)
    log_moved, received_moved, counts_moved = played(coding, seed, move=True)
    assert len(log) > 24  # something was requested and sent again
    assert log_moved == log
    assert counts_moved == counts
    for me in received:
        assert received[me].keys() == received_moved[me].keys()
        for number, values in received[me].items():
            np.testing.assert_array_equal(received_moved[me][number], values)


def test_what_a_checkpoint_of_an_earlier_release_holds_can_be_requested() -> None:
    """Arrays are named KIND/ROUND/DIGEST/RECEIVERS, as they have been since the first release."""
    network = Network("f")
    a, b = (mailbox(network, me, other, "float32", lambda: 0.0) for me, other in (("a", "b"), ("b", "a")))
    table = distributions(20, 10, 0)
    a.load_state({f"soft-labels/3/{DIGEST.hex()}/b,c": table})
    assert list(a.state()) == [f"soft-labels/3/{DIGEST.hex()}/b,c"]
    for box in (a, b):
        box.inbox.open(3)
    b.transport.send("a", RETRANSMIT, b.inbox.request("a", "soft-labels"))
    a.read()
    b.read()
    message = b.inbox.take("a", "soft-labels")
    assert message is not None
    np.testing.assert_array_equal(message.values, table)


def test_a_snapshot_does_not_change_with_the_mailbox() -> None:
    network, clock = Network("f"), [0.0]
    a, b = (mailbox(network, me, other, "delta:15", lambda: clock[0]) for me, other in (("a", "b"), ("b", "a")))
    message = Message("soft-labels", 1, DIGEST, distributions(200, 10, 0))
    before = a.snapshot(), b.snapshot()
    kept = [pickle.dumps(snapshot) for snapshot in before]
    a.send(Exchange({"b": (message,)}, {}))
    b.read()
    assert b.inbox.take("a", "soft-labels") is not None
    b.inbox.open(2)
    assert [pickle.dumps(snapshot) for snapshot in before] == kept
    assert [pickle.dumps(box.snapshot()) for box in (a, b)] != kept
    for box, snapshot in zip((a, b), before, strict=True):
        box.restore(snapshot)
    assert [pickle.dumps(box.snapshot()) for box in (a, b)] == kept


def test_traffic_of_a_snapshot_does_not_change() -> None:
    transport: MemoryTransport = Network("f").attach("a")
    snapshot = transport.traffic.snapshot()
    transport.send("b", "k", b"one")
    assert (snapshot.messages_sent, snapshot.sent_to) == (0, {})
    transport.traffic.restore(snapshot)
    assert transport.traffic == snapshot
    transport.send("b", "k", b"two")
    assert (snapshot.messages_sent, snapshot.sent_to) == (0, {})
    assert (transport.traffic.messages_sent, transport.traffic.sent_to) == (1, {"b": 3})


@pytest.mark.parametrize(("shape", "pauses"), [((1, 1), [2, 4, 4, 4, 4]), ((1, 200_000), [2, 4, 8, 16, 32])])
def test_intervals_between_requests(shape: tuple[int, int], pauses: list[float]) -> None:
    """Chunked messages may take long, and what is requested queues up behind them."""
    network, clock = Network("f"), [0.0]
    network.attach("b")
    inbox = Inbox({"b": (WEIGHTS.format(DIGEST, shape),)})
    collecting = Mailbox(network.attach("a"), inbox, {}, lambda: clock[0]).collect({"b": ("weights",)}, 1, deadline=1e9)
    times = [0.0]
    for _ in pauses:
        clock[0] = next(collecting).until
        times.append(clock[0])
    assert list(np.diff(times)) == pauses


@pytest.mark.parametrize("coding", ["float32", "int8-delta"])
def test_only_missing_chunks_are_sent_again(coding: str) -> None:
    """Of a message in three payloads the second is lost: the request names it, and it alone comes again."""
    network, clock = Network("f"), [0.0]
    form = WEIGHTS.format(DIGEST, (1, 1_500_000 if coding == "int8-delta" else 300_000))
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
    sent_as = a.send(Exchange({"b": (second,)}, {}))["b"]["weights"]
    collecting = b.collect({"a": ("weights",)}, 2, deadline=60.0)
    clock[0] = next(collecting).until
    next(collecting)  # requests
    a.read()
    with pytest.raises(StopIteration) as done:
        next(collecting)
    assert [chunk.index for chunk in sent] == [0, 1, 2, 1]
    np.testing.assert_array_equal(done.value.value["a"]["weights"].values, sent_as.values)
    np.testing.assert_allclose(sent_as.values, second.values, atol=1e-3)


def leaving_and_collecting(loss: Callable[[], bool]) -> tuple[Mailbox, Mailbox, list[float]]:
    """(a, whose last message was lost; b, whose message a has; the clock they share)."""
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


def test_a_finished_device_answers_until_all_have_finished() -> None:
    """b has lost a's last message: a, which has finished, sends it again before it leaves."""
    a, b, _ = leaving_and_collecting(lambda: False)
    leaving, collecting = a.linger(1, 60.0), b.collect({"a": ("soft-labels",)}, 1, deadline=60.0)
    assert next(leaving).missing == ("b",)  # announces that it has finished
    next(collecting)  # requests it at once: what a sent before is lost
    next(leaving)  # answers
    with pytest.raises(StopIteration) as done:
        next(collecting)
    assert set(done.value.value["a"]) == {"soft-labels"}
    assert list(b.linger(1, 60.0)) == []  # a has announced that it has finished
    assert list(leaving) == []


@pytest.mark.parametrize(("loss", "at_most"), [(0.0, 0), (0.3, 3)])
def test_on_a_lossy_network_the_last_message_arrives(loss: float, at_most: int) -> None:
    """Of 1,000; 17 are lost if b does not react to a's announcement, 64 if a stays LINGER seconds in all."""
    lost = 0
    for seed in range(1000):
        chance = random.Random(seed)
        a, b, clock = leaving_and_collecting(lambda chance=chance: chance.random() < loss)  # type: ignore[misc]
        ends = {"a": a.linger(1, 120.0), "b": b.collect({"a": ("soft-labels",)}, 1, deadline=120.0)}
        received: dict[NodeId, dict[str, Message]] = {}
        while "b" in ends:
            waiting = []
            for name, talk in list(ends.items()):
                try:
                    waiting.append(next(talk).until)
                except StopIteration as done:
                    del ends[name]
                    received = done.value if name == "b" else received
            clock[0] = max(clock[0] + 0.1, min([clock[0] + 1.0, *waiting]))
        lost += not received
    assert lost <= at_most


def test_a_finished_device_does_not_wait_for_ever() -> None:
    network, clock = Network("f"), [0.0]
    network.attach("b")
    mailbox = Mailbox(network.attach("a"), Inbox({"b": (SOFT_LABELS.format(DIGEST, (1, 1)),)}), {}, lambda: clock[0])
    assert list(mailbox.linger(9, 60.0)) == []  # nothing has come from b yet
    mailbox.inbox.reached("b", 9)
    for waiting in mailbox.linger(9, 60.0):
        assert waiting.missing == ("b",)
        clock[0] = waiting.until
    assert clock[0] == LINGER
