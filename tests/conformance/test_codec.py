"""What every body coding promises, on every family of edge/codec."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import codec
from edge.codec import CHUNK, HEADER, decode, encode, join, payload_size
from edge.errors import MessageError
from edge.interfaces import Array, Message

CODINGS = codec.names()
DIGEST = bytes(range(8))
LIMITS = {"float32": 0.0, "float16": 2**-11, "integer8": 0.0, "deflate8": 0.0}
"""How far a decoded value may be from the source, relative; simplex:8 has tests of its own."""


def distributions(rows: int, columns: int, seed: int) -> Array:
    random = np.random.default_rng(seed)
    return random.dirichlet(np.full(columns, 0.3), rows).astype(np.float32)


def kind(coding: str) -> str:
    """One that the coding can carry."""
    return (codec.carried(coding) or ("soft-labels",))[0]


def message(coding: str, rows: int = 6, columns: int = 10, seed: int = 0, number: int = 7) -> Message:
    values = distributions(rows, columns, seed)
    if kind(coding) == "codes":
        values = np.rint(255 * values).astype(np.float32)
    return Message(kind(coding), number, DIGEST, values)


@pytest.mark.parametrize("coding", CODINGS)
@given(
    rows=st.integers(1, 40), columns=st.integers(1, 30), seed=st.integers(0, 10**6), number=st.integers(1, 2**32 - 1)
)
@settings(max_examples=60, deadline=None)
def test_round_trip(coding: str, rows: int, columns: int, seed: int, number: int) -> None:
    source = message(coding, rows, columns, seed, number)
    values = source.values
    payloads = encode(source, coding)
    once = join([decode(p) for p in payloads])
    assert (once.kind, once.round, once.digest) == (source.kind, number, DIGEST)
    assert once.values.dtype == np.float32
    assert once.values.shape == (rows, columns)
    if coding in LIMITS:
        np.testing.assert_allclose(once.values, values, rtol=LIMITS[coding], atol=1e-7)
    assert encode(once, coding) == payloads  # what was decoded is coded to the same bytes


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("shape", [(1, 1), (300, 10), (1, 70_000), (3000, 200)])
def test_sizes_are_the_closed_form(coding: str, shape: tuple[int, int]) -> None:
    payloads = encode(message(coding, *shape), coding)
    body = codec.find(coding).size(*shape)
    if body is None:  # it depends on the values
        with pytest.raises(ValueError, match="depends on its values"):
            payload_size(*shape, coding)
        return
    assert sum(map(len, payloads)) == payload_size(*shape, coding) == body + HEADER * len(payloads)
    assert max(map(len, payloads)) <= CHUNK


@pytest.mark.parametrize("coding", CODINGS)
def test_every_truncation_is_refused(coding: str) -> None:
    (payload,) = encode(message(coding, 2, 5), coding)
    for length in range(len(payload)):
        with pytest.raises(MessageError):
            decode(payload[:length])
    with pytest.raises(MessageError):
        decode(payload + b"\0")


@pytest.mark.parametrize("coding", CODINGS)
def test_every_bit_flip_is_refused(coding: str) -> None:
    (payload,) = encode(message(coding, 2, 5), coding)
    for bit in range(8 * len(payload)):
        flipped = bytearray(payload)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MessageError):
            decode(bytes(flipped))


@pytest.mark.parametrize("coding", CODINGS)
@given(st.integers(1, 300), st.integers(1, 100), st.data())
@settings(max_examples=60, deadline=None)
def test_bit_flips_and_truncations_of_larger_ones_are_refused(
    coding: str, rows: int, columns: int, data: st.DataObject
) -> None:
    (payload,) = encode(message(coding, rows, columns), coding)
    bit = data.draw(st.integers(0, 8 * len(payload) - 1))
    flipped = bytearray(payload)
    flipped[bit // 8] ^= 1 << bit % 8
    for altered in (bytes(flipped), payload[: data.draw(st.integers(0, len(payload) - 1))]):
        with pytest.raises(MessageError):
            decode(altered)


@pytest.mark.parametrize("coding", CODINGS)
@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_body_raises_anything_else(coding: str, body: bytes) -> None:
    """A body with a proper checksum but any content: values, or MessageError."""
    module = codec.find(coding)
    for rows, columns in ((1, 4), (3, 5), (10, 10)):
        size = module.size(rows, columns)
        for content in (
            body[:size],
            *([zlib.compress(body), zlib.compress(bytes(rows * columns))] if size is None else []),
        ):
            if size is None or len(content) == size:
                try:
                    values = module.decode(content, rows, columns)
                except MessageError:
                    continue
                assert values.shape == (rows, columns)
                assert np.isfinite(values).all()


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_never_sent(coding: str, value: float) -> None:
    with pytest.raises(ValueError, match=r"finite|integers"):
        encode(Message(kind(coding), 1, DIGEST, np.array([[value, 1.0]], np.float32)), coding)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("layout", ["F", "strided", "read-only"])
def test_the_layout_in_memory_does_not_matter(coding: str, layout: str) -> None:
    source = message(coding)
    values = source.values.copy()
    if layout == "F":
        values = np.asfortranarray(values)
    elif layout == "strided":
        values = np.repeat(values, 2, axis=1)[:, ::2]
    values.flags.writeable = layout != "read-only"
    assert encode(replace(source, values=values), coding) == encode(source, coding)
    np.testing.assert_array_equal(values, source.values)  # and they are left as they were


def test_the_identifiers_differ() -> None:
    identifiers = [codec.find(name).id for name in CODINGS]
    assert len(set(identifiers)) == len(identifiers)
    assert 0 not in identifiers


@pytest.mark.parametrize("coding", [name for name in CODINGS if codec.find(name).keeps_largest])
@given(
    rows=st.integers(1, 30),
    columns=st.integers(2, 30),
    sharpness=st.sampled_from([1e-4, 1e-2, 1.0, 30.0]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_the_class_a_device_believes_in_is_what_its_neighbours_read(
    coding: str, rows: int, columns: int, sharpness: float, seed: int
) -> None:
    """The first largest entry stays the first largest, in rows nearly flat and nearly certain alike."""
    logits = sharpness * np.random.default_rng(seed).standard_normal((rows, columns))
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    source = Message("soft-labels", 1, DIGEST, (p / p.sum(axis=1, keepdims=True)).astype(np.float32))
    decoded = join([decode(payload) for payload in encode(source, coding)]).values
    np.testing.assert_array_equal(decoded.argmax(axis=1), source.values.argmax(axis=1))
    np.testing.assert_allclose(decoded.sum(axis=1), 1, atol=1e-5)
