"""Messages as changes: what both sides must agree on, and what a change costs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import codec
from edge.codec import HEADER, decode, encode, join
from edge.codec._entropy import LOWEST, SymbolModel, cost, decoded, encoded, shares
from edge.errors import BaseMissing, MessageError
from edge.interfaces import Array, Message
from edge_bench.measurements.wire import divergence, entropy

CODINGS = [name for name in codec.names() if name.startswith("delta")]
DIGEST = bytes(8)


def walk(rounds: int, rows: int, columns: int, seed: int, step: float = 0.1) -> list[Message]:
    """Distributions that change a little from round to round."""
    random = np.random.default_rng(seed)
    logits = 3 * random.standard_normal((rows, columns))
    messages = []
    for number in range(1, rounds + 1):
        logits += step * random.standard_normal(logits.shape)
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        messages.append(Message("soft-labels", number, DIGEST, (p / p.sum(axis=1, keepdims=True)).astype(np.float32)))
    return messages


def carried(coding: str, messages: list[Message]) -> tuple[list[Message], list[list[bytes]]]:
    """As their receiver decodes them, and their payloads, each coded with the two before it."""
    received: list[Message] = []
    sent = []
    for message in messages:
        bases = received[::-1][:2]
        sent.append(encode(message, coding, bases))
        received.append(join([decode(p) for p in sent[-1]], bases))
    return received, sent


@pytest.mark.parametrize("coding", CODINGS)
@given(
    rows=st.integers(1, 60), columns=st.integers(1, 20), seed=st.integers(0, 10**6), step=st.sampled_from([0, 0.1, 9])
)
@settings(max_examples=40, deadline=None)
def test_what_was_sent_is_sent_again_whole(coding: str, rows: int, columns: int, seed: int, step: float) -> None:
    """A message that was decoded as a change is the same to the last bit when it is asked for again."""
    source = walk(4, rows, columns, seed, step)
    received, _ = carried(coding, source)
    for whole, message in zip(received, source, strict=True):
        np.testing.assert_array_equal(whole.values.argmax(axis=1), message.values.argmax(axis=1))
        np.testing.assert_allclose(whole.values.sum(axis=1), 1, atol=1e-5)
        again = join([decode(p) for p in encode(whole, coding)])
        np.testing.assert_array_equal(again.values, whole.values)


@pytest.mark.parametrize("coding", CODINGS)
def test_a_change_costs_less_than_the_whole(coding: str) -> None:
    source = walk(6, 300, 10, 0)
    _, sent = carried(coding, source)
    whole = [len(encode(message, coding)[0]) for message in source]
    assert len(sent[0][0]) == whole[0]
    for now, alone in zip(sent[1:], whole[1:], strict=True):
        assert len(now[0]) - HEADER < 0.6 * (alone - HEADER)


def test_what_a_finer_coding_loses_is_less() -> None:
    source = walk(6, 300, 10, 1)
    lost = []
    for coding in ("delta:24", "delta:15", "delta:7", "delta:3"):
        received, _ = carried(coding, source)
        lost.append(np.mean([divergence(a.values, b.values) for a, b in zip(source, received, strict=True)]))
    assert lost == sorted(lost)
    assert lost[0] < 2e-3


def test_the_bytes_are_near_the_entropy() -> None:
    """Little more than the codes' own frequencies, given the codes before, would need (on digits within 5 %)."""
    codes = codec.find("delta:15").codes
    assert codes is not None
    received, sent = carried("delta:15", walk(12, 1000, 10, 2))
    for before, now, payloads in zip(received[2:], received[3:], sent[3:], strict=False):
        floor = entropy(codes(now.values), codes(before.values))
        assert len(payloads[0]) - HEADER < 1.15 * floor + 40


@pytest.mark.parametrize("coding", CODINGS)
def test_a_missing_base_is_named(coding: str) -> None:
    source = walk(3, 40, 5, 3)
    received, sent = carried(coding, source)
    chunks = [decode(p) for p in sent[2]]
    for held in ([], [received[0]], [received[1]]):
        with pytest.raises(BaseMissing, match=f"round {1 if held == [received[1]] else 2}, which is not here"):
            join(chunks, held)
    join(chunks, received[:2])


def test_bases_of_another_shape_or_about_something_else_are_not_used() -> None:
    small, large = walk(1, 4, 5, 0)[0], walk(2, 40, 5, 0)[1]
    assert encode(large, "delta:15", [small]) == encode(large, "delta:15")
    other = Message("soft-labels", 1, b"elsewhat", walk(1, 40, 5, 0)[0].values)
    assert encode(large, "delta:15", [other]) == encode(large, "delta:15")
    (payload,) = encode(large, "delta:15", walk(1, 40, 5, 0))
    with pytest.raises(BaseMissing):
        join([decode(payload)], [other])
    with pytest.raises(MessageError, match="another shape"):
        join([decode(payload)], [small])


@pytest.mark.parametrize("coding", CODINGS)
def test_bases_never_make_it_longer(coding: str) -> None:
    """Not even those of another conversation: then it is sent whole."""
    for seed in range(6):
        before, now = walk(1, 20, 6, seed)[0], walk(2, 20, 6, seed + 100)[1]
        assert len(encode(now, coding, [before])[0]) <= len(encode(now, coding)[0])


@given(count=st.integers(0, 700), symbols=st.integers(2, 40), contexts=st.integers(1, 5), seed=st.integers(0, 10**6))
@settings(max_examples=80, deadline=None)
def test_the_coder(count: int, symbols: int, contexts: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    expected = random.integers(0, symbols, contexts)
    where = random.integers(0, contexts, count)
    what = np.minimum(random.geometric(0.4, count), symbols) - 1
    share, start = shares(SymbolModel(symbols, expected), where, what)
    body = encoded(share, start)
    assert len(body) <= cost(share) + 5
    np.testing.assert_array_equal(decoded(SymbolModel(symbols, expected), where, body), what)
    for wrong in (body + b"\0", body[:-1]):
        with pytest.raises(MessageError):
            decoded(SymbolModel(symbols, expected), where, wrong)


@given(st.binary(max_size=80))
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_symbols_or_refused(body: bytes) -> None:
    contexts = np.zeros(50, np.intp)
    try:
        symbols = decoded(SymbolModel(6, np.array([2])), contexts, body)
    except MessageError:
        return
    share, start = shares(SymbolModel(6, np.array([2])), contexts, symbols)
    assert encoded(share, start) == body  # nothing is coded in two ways


def test_shares_fill_their_context() -> None:
    model = SymbolModel(26, np.arange(26))
    symbols: Array = np.random.default_rng(0).integers(0, 3, 10_000)
    model.see(np.zeros(10_000, np.intp), symbols)
    table = model.shares()
    assert table.min() >= 1
    assert (table.sum(axis=1) == 1 << 14).all()
    assert LOWEST == 1 << 23
