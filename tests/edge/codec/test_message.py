"""Headers and chunks."""

import random
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.codec import CHUNK, HEADER, Request, decode, encode, join, request, requested
from edge.codec._header import Chunk, pack
from edge.errors import ConfigError, MessageError
from edge.interfaces import Message
from tests.conformance.test_codec import DIGEST, message


def weights(scalars: int, number: int = 3) -> Message:
    values = np.random.default_rng(scalars).standard_normal((1, scalars)).astype(np.float32)
    return Message("weights", number, DIGEST, values)


def test_the_header_has_forty_bytes() -> None:
    assert HEADER == 40
    (payload,) = encode(message("float32", 3, 10), "float32")
    assert len(payload) == 40 + 3 * 10 * 4


@given(scalars=st.integers(200_000, 500_000), order=st.randoms(use_true_random=False))
@settings(max_examples=8, deadline=None)
def test_chunks_in_any_order_and_doubled(scalars: int, order: random.Random) -> None:
    sent = weights(scalars)
    chunks = [decode(p) for p in encode(sent, "float32")]
    assert len(chunks) == -(-4 * scalars // (CHUNK - HEADER))
    order.shuffle(chunks)
    np.testing.assert_array_equal(join(chunks).values, sent.values)
    with pytest.raises(MessageError):
        join([*chunks, chunks[0]])
    with pytest.raises(MessageError):
        join(chunks[1:])


def test_chunks_of_two_messages_do_not_mix() -> None:
    a, b = ([decode(p) for p in encode(weights(200_000, number), "float32")] for number in (3, 4))
    with pytest.raises(MessageError, match="do not make one message"):
        join([a[0], b[1]])


@given(st.binary(max_size=300))
@settings(max_examples=500, deadline=None)
def test_any_bytes(content: bytes) -> None:
    with pytest.raises(MessageError):
        decode(content)


@given(st.binary(min_size=36, max_size=36), st.binary(max_size=50))
@settings(max_examples=300, deadline=None)
def test_any_header_with_a_proper_checksum(head: bytes, body: bytes) -> None:
    """Checksums are no secret: what lies behind one is still checked, and asks for little memory."""
    import zlib

    payload = head + zlib.crc32(body, zlib.crc32(head)).to_bytes(4, "little") + body
    try:
        join([decode(payload)])
    except MessageError:
        return
    raise AssertionError("random bytes made a message")


@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("coding", 99, "coding 99 is not known"),
        ("round", 0, "impossible"),
        ("count", 0, "impossible"),
        ("index", 1, "impossible"),
        ("count", 60_000, "impossible"),
        ("rows", 2**31, "impossible"),
        ("rows", 0, "impossible"),
        ("columns", 0, "impossible"),
        ("rows", 4, "do not take"),
        ("columns", 11, "do not take"),
    ],
)
def test_impossible_headers(field: str, value: int, complaint: str) -> None:
    (payload,) = encode(message("float32", 3, 10), "float32")
    chunk = decode(payload)
    altered = Chunk(**{**chunk.__dict__, field: value})
    with pytest.raises(MessageError, match=complaint):
        join([decode(pack(altered))])


@pytest.mark.parametrize("coding", range(5))
@pytest.mark.parametrize("shape", [(2**32 - 1, 0), (0, 2**32 - 1), (2**26, 1), (1, 2**26), (8192, 8192)])
def test_what_a_header_claims_costs_no_memory(coding: int, shape: tuple[int, int]) -> None:
    payload = pack(Chunk("soft-labels", coding, 0, 1, 1, DIGEST, *shape, b"\xff" * 100))
    nothing = pack(Chunk("soft-labels", coding, 0, 1, 1, DIGEST, *shape, b""))
    tracemalloc.start()
    for hostile in (payload, nothing):
        with pytest.raises(MessageError):
            join([decode(hostile)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6


def test_no_chunks_make_no_message() -> None:
    with pytest.raises(MessageError):
        join([])


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "gossip"},
        {"round": 0},
        {"round": 2**32},
        {"digest": DIGEST[:7]},
        {"digest": DIGEST + b"!"},
        {"values": np.zeros((0, 3), np.float32)},
        {"values": np.zeros((3, 0), np.float32)},
        {"values": np.broadcast_to(np.float32(0), (2**13 + 1, 2**13))},
    ],
    ids=lambda c: str(next(iter(c))),
)
def test_what_a_header_cannot_say_is_our_own_mistake(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a message"):
        encode(replace(message("float32"), **changes), "float32")


def test_another_version_is_named() -> None:
    import zlib

    (payload,) = encode(message("float32"), "float32")
    head = payload[:2] + b"\x03" + payload[3:36]
    altered = head + zlib.crc32(payload[40:], zlib.crc32(head)).to_bytes(4, "little") + payload[40:]
    with pytest.raises(MessageError, match="version 3, this device reads versions 1 and 2"):
        decode(altered)


def test_requests() -> None:
    asked = request("weights", 12, DIGEST)
    assert len(asked) == HEADER
    assert requested(asked) == Request("weights", 12)
    with pytest.raises(MessageError, match="no values"):
        requested(encode(message("float32"), "float32")[0])
    assert requested(request("weights", 12, DIGEST, [0, 3], 4)) == Request("weights", 12, (0, 3), 4)
    for missing, count in (([3, 0], 4), ([1, 1], 4), ([4], 4), ([0], 0)):
        with pytest.raises(MessageError, match="a request for chunks"):
            requested(request("weights", 12, DIGEST, missing, count))


def test_unknown_coding() -> None:
    with pytest.raises(
        ConfigError,
        match="unknown coding 'zip'; there are: cuberoot:4, cuberoot:5, cuberoot:6, deflate8, ",
    ):
        encode(message("float32"), "zip")


def test_half_precision_has_an_end() -> None:
    with pytest.raises(ValueError, match="65504"):
        encode(Message("weights", 1, DIGEST, np.array([[70_000.0]], np.float32)), "float16")
