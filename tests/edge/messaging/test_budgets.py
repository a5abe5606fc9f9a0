"""What a neighbour can make a device do is bounded: sending, decoding, waiting, and skipping rounds."""

from typing import Any

import numpy as np
import pytest

from edge.codec import HEADER, NOTHING, RETRANSMIT, decode, encode, join, request, requested
from edge.interfaces import Delivery, Exchange, Message
from edge.kinds import SOFT_LABELS
from edge.messaging import inbox as inboxes
from edge.messaging.collector import OFFLINE_PATIENCE
from edge.messaging.inbox import MAX_MALFORMED, Inbox
from edge.messaging.mailbox import Mailbox
from edge.messaging.retransmission import ANSWERS, LATER_ANSWER_INTERVAL
from edge.messaging.run_identity import EMULATED
from edge.messaging.topics import PRESENCE
from edge.node import next_round
from edge.transports.memory import Network

DIGEST = b"12345678"
SHAPE = (200, 10)
FORM = SOFT_LABELS.format(DIGEST, SHAPE)


def device(clock: list[float], neighbours: str = "b") -> tuple[Mailbox, Network]:
    network = Network("f")
    for name in neighbours:
        network.attach(name)
    inbox = Inbox(dict.fromkeys(neighbours, (FORM,)))
    return Mailbox(network.attach("a"), inbox, {"soft-labels": "float32"}, lambda: clock[0]), network


def arrives(mailbox: Mailbox, kind: str, payload: bytes, sender: str = "b") -> None:
    mailbox.transport.queue.put(Delivery(sender, kind, payload))  # type: ignore[attr-defined]


def coded(number: int, coding: str = "float32") -> bytes:
    values = np.full(SHAPE, 0.1, np.float32)
    return encode(Message("soft-labels", number, DIGEST, values), coding, run=EMULATED)[0]


def test_requests_have_a_budget() -> None:
    """300 requests over ten minutes, 12 kB, draw a bounded number of answers instead of 300."""
    clock = [0.0]
    mailbox, network = device(clock)
    mailbox.send(Exchange({"b": (Message("soft-labels", 1, DIGEST, np.full(SHAPE, 0.1, np.float32)),)}, {}))
    network.attached["b"].receive()
    for second in range(0, 600, 2):
        clock[0] = float(second)
        arrives(mailbox, RETRANSMIT, request("soft-labels", 1, DIGEST, run=EMULATED))
        mailbox.read()
    assert len(network.attached["b"].receive()) <= ANSWERS + 600 / LATER_ANSWER_INTERVAL


def test_what_has_not_left_yet_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a slow link the answer to a request would queue up behind what was asked for."""
    clock = [0.0]
    mailbox, network = device(clock)
    mailbox.send(Exchange({"b": (Message("soft-labels", 1, DIGEST, np.full(SHAPE, 0.1, np.float32)),)}, {}))
    network.attached["b"].receive()
    monkeypatch.setattr(mailbox.transport, "backlog", lambda receiver: 8040 if receiver == "b" else 0)
    for second in (2.0, 6.0, 10.0):
        clock[0] = second
        arrives(mailbox, RETRANSMIT, request("soft-labels", 1, DIGEST, run=EMULATED))
        mailbox.read()
    assert network.attached["b"].receive() == []
    monkeypatch.setattr(mailbox.transport, "backlog", lambda receiver: 0)
    arrives(mailbox, RETRANSMIT, request("soft-labels", 1, DIGEST, run=EMULATED))
    mailbox.read()
    assert len(network.attached["b"].receive()) == 1


def test_malformed_bodies_of_a_neighbour_are_looked_at_a_few_times_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[object] = []

    def counted(*words: Any) -> Message:
        looked_at.append(words)
        return join(*words)

    monkeypatch.setattr(inboxes, "join", counted)
    mailbox, _ = device([0.0], "bc")
    bad = encode_body(coded(1, "delta:15")[:HEADER], bytes(8) + b"\xff" * 58)
    for _ in range(50):
        mailbox.inbox.put(Delivery("b", "soft-labels", bad))
    assert len(looked_at) == MAX_MALFORMED
    assert mailbox.inbox.counts["malformed"] == 50
    mailbox.inbox.put(Delivery("b", "soft-labels", coded(1)))
    assert mailbox.inbox.take("b", "soft-labels") is None  # nothing of it in this round
    mailbox.inbox.put(Delivery("c", "soft-labels", coded(1)))
    assert mailbox.inbox.take("c", "soft-labels") is not None  # others are heard
    mailbox.inbox.open(2)
    mailbox.inbox.put(Delivery("b", "soft-labels", coded(2)))
    assert mailbox.inbox.take("b", "soft-labels") is not None


def encode_body(header: bytes, body: bytes) -> bytes:
    """The header with another body, and a checksum that fits."""
    import zlib

    head = header[: HEADER - 4]
    return head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body


@pytest.mark.parametrize("number", [7, 500, 501, 2**32 - 1])
def test_no_request_makes_a_device_skip_rounds(number: int) -> None:
    """Forty bytes of a single neighbour ended a device in round 6 of 500."""
    mailbox, _ = device([0.0])
    mailbox.inbox.open(6)
    arrives(mailbox, RETRANSMIT, request("soft-labels", number, bytes(8), run=EMULATED))
    mailbox.read()
    assert next_round(6, 500, mailbox.inbox) == 7


def test_a_message_takes_it_to_its_round_and_at_most_to_the_last() -> None:
    mailbox, _ = device([0.0])
    mailbox.inbox.open(6)
    mailbox.inbox.put(Delivery("b", "soft-labels", coded(40)))
    assert next_round(6, 500, mailbox.inbox) == 40
    mailbox.inbox.put(Delivery("b", "soft-labels", coded(2**32 - 1)))
    assert next_round(6, 500, mailbox.inbox) == 500


def test_who_has_nothing_to_send_says_so() -> None:
    """A device that is behind does not wait for what was never sent to it."""
    clock = [0.0]
    mailbox, network = device(clock)
    mailbox.inbox.open(9)
    arrives(mailbox, RETRANSMIT, request("soft-labels", 8, DIGEST, run=EMULATED))
    mailbox.read()
    (answer,) = network.attached["b"].receive()
    assert requested(answer.payload).nothing
    assert decode(answer.payload).digest == NOTHING
    collecting = mailbox.collect({"b": ("soft-labels",)}, 9, deadline=30.0)
    next(collecting)
    arrives(mailbox, RETRANSMIT, request("soft-labels", 8, NOTHING, run=EMULATED))  # of another round
    next(collecting)
    arrives(mailbox, RETRANSMIT, request("soft-labels", 9, NOTHING, run=EMULATED))
    with pytest.raises(StopIteration) as done:
        next(collecting)
    assert done.value.value == {}
    assert clock == [0.0]


def waited(mailbox: Mailbox, clock: list[float], senders: str, number: int) -> float:
    """Seconds for which a round waits."""
    mailbox.inbox.open(number)
    start = clock[0]
    for waiting in mailbox.collect(dict.fromkeys(senders, ("soft-labels",)), number, deadline=start + 10.0):
        clock[0] = waiting.until
    return clock[0] - start


def test_a_neighbour_that_is_offline_is_waited_for_only_at_first() -> None:
    """Its last will says that it is gone: after some rounds the others go on without it, until it is back."""
    clock = [0.0]
    mailbox, _ = device(clock, "bc")
    arrives(mailbox, PRESENCE, b"offline")
    rounds = [waited(mailbox, clock, "b", number) for number in range(1, 6)]
    assert rounds == [10.0] * OFFLINE_PATIENCE + [0.0] * (5 - OFFLINE_PATIENCE)
    assert waited(mailbox, clock, "bc", 6) == 10.0  # c is there
    arrives(mailbox, PRESENCE, b"online")
    assert waited(mailbox, clock, "b", 7) == 10.0
