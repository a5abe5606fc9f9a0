"""Rows of codes that sum to 255 exactly, by largest remainder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge import codec
from edge.errors import MessageError
from edge.interfaces import Array
from edge.quantiser import codes

SIMPLEX = codec.find("simplex:8")


def codes_of(values: Array) -> Array:
    return codes(values, 255)


ROWS = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements=st.floats(-2, 3, width=32, allow_nan=False),
)


def projected(values: Array) -> Array:
    p = np.clip(values.astype(np.float64), 0, None)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / values.shape[1])


NEAR_UNIFORM = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=40),
    elements=st.sampled_from([0.0, 0.25, 0.5, 0.998, 0.999, 1.0, 1.001]),
)


def largest_remainder(p: Array) -> Array:
    """One row (C,) of probabilities, by the book."""
    codes = [int(v) for v in p * 255]
    order = sorted(range(len(p)), key=lambda i: codes[i] - p[i] * 255)  # stable: ties to the earlier column
    for i in order[: 255 - sum(codes)]:
        codes[i] += 1
    return np.array(codes)


@given(ROWS | NEAR_UNIFORM)
@settings(max_examples=300, deadline=None)
def test_what_is_promised_of_every_row(values: Array) -> None:
    columns = values.shape[1]
    for p, q in zip(projected(values), codes_of(values).astype(int), strict=True):
        book = largest_remainder(p)
        error = np.abs(q / 255 - p).sum()
        assert q.sum() == 255
        assert q.argmax() == p.argmax()
        assert error <= columns / 255 + 1e-9
        if book.argmax() == p.argmax():
            np.testing.assert_array_equal(q, book)
            assert error <= columns / 510 + 1e-9
        else:  # one unit moved, to the largest
            assert q[p.argmax()] == book[p.argmax()] + 1
            assert np.abs(q - book).sum() == 2


@given(ROWS | NEAR_UNIFORM)
@settings(max_examples=200, deadline=None)
def test_what_was_decoded_is_coded_to_the_same_bytes(values: Array) -> None:
    body = SIMPLEX.encode(values)
    assert SIMPLEX.encode(SIMPLEX.decode(body, *values.shape)) == body


def test_the_first_largest_stays_the_first_largest() -> None:
    """63.75, 64.25, 63.63 and 63.38 units: the remainders alone would make it 64, 64, 64, 63."""
    row = np.array([0.25, 0.251953125, 0.24951171875, 0.24853515625], np.float32)
    np.testing.assert_array_equal(largest_remainder(row.astype(np.float64)), [64, 64, 64, 63])
    np.testing.assert_array_equal(codes_of(row[None]), [[64, 65, 63, 63]])


@pytest.mark.parametrize("columns", [2, 3, 10, 255, 256, 1000])
@pytest.mark.parametrize("where", ["first", "last"])
def test_a_largest_by_one_bit_is_kept(columns: int, where: str) -> None:
    row = np.full((1, columns), 0.5, np.float32)
    largest = 0 if where == "first" else columns - 1
    row[0, largest] = np.nextafter(np.float32(0.5), np.float32(1))
    rounded = codes_of(row)[0]
    assert rounded.sum() == 255
    assert rounded.argmax() == largest


def test_largest_remainder_is_the_minimum_of_the_l1_error() -> None:
    """Against every way to give the units, for small rows."""
    random = np.random.default_rng(0)
    for _ in range(50):
        p = random.dirichlet([0.5] * 3)
        ours = np.abs(codes_of(p[None])[0] / 255 - p).sum()
        best = min(
            np.abs(np.array([a, b, 255 - a - b]) / 255 - p).sum()
            for a in range(int(255 * p[0]) - 1, int(255 * p[0]) + 3)
            for b in range(int(255 * p[1]) - 1, int(255 * p[1]) + 3)
        )
        assert ours == pytest.approx(best, abs=1e-12)


def test_rows_with_nothing_become_uniform() -> None:
    rounded = codes_of(np.array([[0.0, 0.0, 0.0], [-1.0, -2.0, -3.0]]))
    np.testing.assert_array_equal(rounded, [[85, 85, 85], [85, 85, 85]])


def test_certainty_is_exact() -> None:
    body = SIMPLEX.encode(np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(SIMPLEX.decode(body, 4, 4), np.eye(4))


def test_a_row_that_does_not_sum_is_refused() -> None:
    body = bytearray(SIMPLEX.encode(np.eye(4, dtype=np.float32)))
    body[1] += 1
    with pytest.raises(MessageError, match="does not sum to 255"):
        SIMPLEX.decode(bytes(body), 4, 4)
