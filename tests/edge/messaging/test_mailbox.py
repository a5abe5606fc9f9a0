"""The mailbox as a whole: what it holds survives a move to another process, in the middle of anything."""

import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest

from edge.interfaces import Exchange, Message
from edge.kinds import SOFT_LABELS
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox, MailboxSnapshot, Waiting
from edge.transports.memory import Memory, Network
from tests.conformance.test_codec import distributions

DIGEST = b"12345678"
FORMS = {"float32": SOFT_LABELS.format(DIGEST, (20, 10)), "delta15": SOFT_LABELS.format(DIGEST, (200, 10))}
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


def test_a_snapshot_does_not_change_with_the_mailbox() -> None:
    network, clock = Network("f"), [0.0]
    a, b = (mailbox(network, me, other, "delta15", lambda: clock[0]) for me, other in (("a", "b"), ("b", "a")))
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
    transport: Memory = Network("f").attach("a")
    snapshot = transport.traffic.snapshot()
    transport.send("b", "k", b"one")
    assert (snapshot.messages_sent, snapshot.sent_to) == (0, {})
    transport.traffic.restore(snapshot)
    assert transport.traffic == snapshot
    transport.send("b", "k", b"two")
    assert (snapshot.messages_sent, snapshot.sent_to) == (0, {})
    assert (transport.traffic.messages_sent, transport.traffic.sent_to) == (1, {"b": 3})
