"""The inbox: keeps what is expected, counts the rest, and is never stopped."""

import logging
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.codec import CHUNK, HEADER, decode, encode, join
from edge.codec._header import Chunk, pack
from edge.interfaces import Delivery, Message
from edge.kinds import SOFT_LABELS, WEIGHTS
from edge.messaging.inbox import CAUSES, MAX_EARLY, Inbox
from tests.conformance.test_codec import DIGEST, distributions

EXPECTED = SOFT_LABELS.format(DIGEST, (3, 4))


def said(number: int = 5, sender: str = "b", seed: int = 0, **changes: object) -> list[Delivery]:
    message = replace(Message("soft-labels", number, DIGEST, distributions(3, 4, seed)), **changes)  # type: ignore[arg-type]
    return [Delivery(sender, message.kind, p) for p in encode(message, "float32")]


def expecting() -> Inbox:
    inbox = Inbox({"b": [EXPECTED], "c": [EXPECTED]})
    inbox.open(5)
    return inbox


def put(inbox: Inbox, *deliveries: list[Delivery]) -> None:
    for several in deliveries:
        for delivery in several:
            inbox.put(delivery)


def counted(inbox: Inbox) -> dict[str, int]:
    return {cause: count for cause, count in inbox.counts.items() if count}


def test_an_answer_is_taken_once() -> None:
    inbox = expecting()
    assert inbox.take("b", "soft-labels") is None
    put(inbox, said())
    message = inbox.take("b", "soft-labels")
    assert message is not None
    np.testing.assert_array_equal(message.values, distributions(3, 4, 0))
    assert inbox.take("b", "soft-labels") is None
    assert counted(inbox) == {}


def test_the_first_of_two_counts() -> None:
    inbox = expecting()
    put(inbox, said(seed=1), said(seed=2))
    message = inbox.take("b", "soft-labels")
    assert message is not None
    np.testing.assert_array_equal(message.values, distributions(3, 4, 1))
    put(inbox, said(seed=3))
    assert inbox.take("b", "soft-labels") is None
    assert counted(inbox) == {"duplicate": 2}


def test_rounds_ahead_wait_their_turn_and_late_ones_are_counted() -> None:
    inbox = expecting()
    put(inbox, said(6), said(4), said(5 + MAX_EARLY), said(6 + MAX_EARLY))
    assert inbox.take("b", "soft-labels") is None
    assert counted(inbox) == {"late": 1, "early": 1}
    inbox.open(6)
    assert inbox.take("b", "soft-labels") is not None
    assert inbox.newest("b") == 6 + MAX_EARLY


@pytest.mark.parametrize(
    "stray",
    [
        said(sender="stranger"),
        said(digest=bytes(8)),
        said(values=distributions(4, 4, 0)),
        said(kind="weights"),
    ],
)
def test_foreign(stray: list[Delivery]) -> None:
    inbox = expecting()
    put(inbox, stray)
    assert counted(inbox) == {"foreign": 1}
    assert inbox.take("b", "soft-labels") is None


def test_malformed_is_logged_once_a_sender(caplog: pytest.LogCaptureFixture) -> None:
    inbox = expecting()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            put(inbox, [Delivery("b", "soft-labels", b"garbage")], [Delivery("c", "soft-labels", b"")])
    assert counted(inbox) == {"malformed": 6}
    assert [r.getMessage().split(" dropped")[0] for r in caplog.records] == ["message from b", "message from c"]


def test_the_topic_and_the_header_must_agree() -> None:
    inbox = expecting()
    put(inbox, [Delivery("b", "weights", said()[0].payload)])
    assert counted(inbox) == {"malformed": 1}


def test_chunks_arrive_in_any_order_between_other_messages() -> None:
    values = np.random.default_rng(0).standard_normal((1, 300_000)).astype(np.float32)
    inbox = Inbox({"b": [WEIGHTS.format(DIGEST, (1, values.shape[1]))]})
    inbox.open(2)
    one, two = (said(n, kind="weights", values=values) for n in (2, 3))
    assert len(one) == 3
    put(inbox, [two[1], one[2], one[0], two[2], two[0], one[2]])
    assert inbox.take("b", "weights") is None
    put(inbox, [one[1]])
    message = inbox.take("b", "weights")
    assert message is not None
    np.testing.assert_array_equal(message.values, values)
    assert counted(inbox) == {"duplicate": 1}


def test_halves_of_two_rounds_make_nothing() -> None:
    values = np.ones((1, 200_000), np.float32)
    inbox = Inbox({"b": [WEIGHTS.format(DIGEST, (1, values.shape[1]))]})
    inbox.open(2)
    one, two = (said(n, kind="weights", values=values) for n in (2, 3))
    put(inbox, [one[0], two[1]])
    assert inbox.take("b", "weights") is None
    inbox.open(3)
    assert inbox.take("b", "weights") is None
    put(inbox, [one[1], two[0]])
    assert inbox.take("b", "weights") is not None
    assert counted(inbox) == {"late": 1}


def test_chunks_that_make_no_message_can_be_said_again() -> None:
    values = np.ones((1, 200_000), np.float32)
    inbox = Inbox({"b": [WEIGHTS.format(DIGEST, (1, values.shape[1]))]})
    inbox.open(2)
    honest = said(2, kind="weights", values=values)
    short = pack(Chunk("weights", 1, 1, 2, 2, DIGEST, 1, 200_000, b"short"))
    put(inbox, [honest[0], Delivery("b", "weights", short)])
    assert counted(inbox) == {"malformed": 1}
    put(inbox, honest)
    assert inbox.take("b", "weights") is not None


def test_a_neighbour_cannot_make_it_hold_more_than_was_agreed() -> None:
    scalars = 300_000
    inbox = Inbox({"b": [WEIGHTS.format(DIGEST, (1, scalars))]})
    inbox.open(10)
    piece = bytes(CHUNK - HEADER)
    tracemalloc.start()
    for number in range(1, 40):
        for index, count in ((0, 3), (1, 3), (0, 2), (1, 1), (2, 65_535)):
            if index < count:
                hostile = pack(Chunk("weights", 1, index, count, number, DIGEST, 1, scalars, piece))
                inbox.put(Delivery("b", "weights", hostile))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < (MAX_EARLY + 1) * (4 * scalars + CHUNK)


CHUNKS = st.builds(
    Chunk,
    kind=st.sampled_from(["soft-labels", "weights"]),
    coding=st.integers(0, 4),
    index=st.integers(0, 2),
    count=st.integers(0, 3),
    round=st.integers(0, 10),
    digest=st.sampled_from([DIGEST, bytes(8)]),
    rows=st.integers(0, 4),
    columns=st.integers(0, 5),
    body=st.binary(max_size=12) | st.just(bytes([255, 0, 0, 0] * 3)) | st.just(bytes(48)),
)


@given(st.lists(st.tuples(st.sampled_from(["b", "x"]), CHUNKS), max_size=30))
@settings(max_examples=200, deadline=None)
def test_forged_headers_neither_raise_nor_silence_others(forged: list[tuple[str, Chunk]]) -> None:
    inbox = expecting()
    for sender, chunk in forged:
        inbox.put(Delivery(sender, chunk.kind, pack(chunk)))
    put(inbox, said(sender="c"))
    assert inbox.take("c", "soft-labels") is not None
    if (message := inbox.take("b", "soft-labels")) is not None:
        assert message.values.shape == EXPECTED.shape
        assert np.isfinite(message.values).all()
    assert set(inbox.counts) == set(CAUSES)
    assert sum(inbox.counts.values()) <= len(forged)


def test_no_minority_can_pretend_a_round() -> None:
    inbox = Inbox(dict.fromkeys("bcd", (EXPECTED,)))
    inbox.open(5)
    put(inbox, said(4_000_000_000, "b"))
    assert inbox.majority_round() == 0
    put(inbox, said(6, "c"), said(7, "d"))
    assert inbox.majority_round() == 7
    pair = expecting()
    put(pair, said(4_000_000_000, "b"), said(6, "c"))
    assert pair.majority_round() == 6


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["b", "c", "x"]), st.sampled_from(["soft-labels", "weights", "?"]), st.binary(max_size=99)
        )
    )
)
@settings(max_examples=100, deadline=None)
def test_garbage_is_counted_and_an_honest_message_still_heard(garbage: list[tuple[str, str, bytes]]) -> None:
    inbox = expecting()
    put(inbox, [Delivery(*g) for g in garbage], said())
    assert inbox.take("b", "soft-labels") is not None
    assert sum(inbox.counts.values()) == len(garbage)


def test_a_delta_without_its_base_is_requested_and_taken_whole() -> None:
    inbox = Inbox({"b": [SOFT_LABELS.format(DIGEST, (200, 10))]})
    inbox.open(5)
    decoded: list[Message] = []
    sent = []
    values = distributions(200, 10, 0)
    for number in (5, 6, 7, 8):
        message = Message("soft-labels", number, DIGEST, values)
        (payload,) = encode(message, "delta:15", decoded[::-1][:2])
        decoded.append(join([decode(payload)], decoded[::-1][:2]))
        sent.append([Delivery("b", "soft-labels", payload)])
    put(inbox, sent[0])
    assert inbox.take("b", "soft-labels") is not None
    inbox.open(6)  # round 6 is lost
    inbox.open(7)
    put(inbox, sent[2])
    assert inbox.take("b", "soft-labels") is None
    assert counted(inbox) == {"missing_base": 1}
    assert inbox.take_missing_base("b", "soft-labels")
    assert not inbox.take_missing_base("b", "soft-labels")  # once
    (whole,) = encode(decoded[2], "delta:15")
    put(inbox, [Delivery("b", "soft-labels", whole)])
    taken = inbox.take("b", "soft-labels")
    assert taken is not None
    np.testing.assert_array_equal(taken.values, decoded[2].values)
    inbox.open(8)  # its older base, round 6, is still not here
    put(inbox, sent[3])
    assert counted(inbox) == {"missing_base": 2}


def test_a_delta_waits_for_nothing_if_its_base_came_early() -> None:
    inbox = Inbox({"b": [SOFT_LABELS.format(DIGEST, (200, 10))]})
    inbox.open(5)
    decoded: list[Message] = []
    for number in (5, 6, 7):
        message = Message("soft-labels", number, DIGEST, distributions(200, 10, 0))
        (payload,) = encode(message, "delta:15", decoded[::-1][:2])
        decoded.append(join([decode(payload)], decoded[::-1][:2]))
        put(inbox, [Delivery("b", "soft-labels", payload)])
    for number, expected in zip((5, 6, 7), decoded, strict=True):
        inbox.open(number)
        taken = inbox.take("b", "soft-labels")
        assert taken is not None
        np.testing.assert_array_equal(taken.values, expected.values)
    assert counted(inbox) == {}
