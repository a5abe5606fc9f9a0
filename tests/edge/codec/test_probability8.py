"""Rows of codes that sum to 255 exactly, by largest remainder."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from edge.codec import probability8
from edge.errors import MessageError
from edge.interfaces import Array

ROWS = npst.arrays(
    np.float32,
    npst.array_shapes(min_dims=2, max_dims=2, max_side=20),
    elements=st.floats(-2, 3, width=32, allow_nan=False),
)


def projected(values: Array) -> Array:
    p = np.clip(values.astype(np.float64), 0, None)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 1 / values.shape[1])


@given(ROWS)
@settings(max_examples=300, deadline=None)
def test_rows_sum_exactly_and_are_the_nearest(values: Array) -> None:
    codes = probability8.codes(values)
    p = projected(values)
    assert (codes.sum(axis=1, dtype=np.int64) == 255).all()
    assert (np.abs(codes / 255 - p).sum(axis=1) <= values.shape[1] / 255 + 1e-9).all()
    assert (np.abs(codes / 255 - p) < 1 / 255 + 1e-9).all()  # every code is its value rounded down or up
    largest = np.take_along_axis(codes, p.argmax(axis=1)[:, None], axis=1)[:, 0]
    assert (largest == codes.max(axis=1)).all()  # the largest stays a largest


def test_largest_remainder_is_the_minimum_of_the_l1_error() -> None:
    """Against every way to give the units, for small rows."""
    random = np.random.default_rng(0)
    for _ in range(50):
        p = random.dirichlet([0.5] * 3)
        ours = np.abs(probability8.codes(p[None])[0] / 255 - p).sum()
        best = min(
            np.abs(np.array([a, b, 255 - a - b]) / 255 - p).sum()
            for a in range(int(255 * p[0]) - 1, int(255 * p[0]) + 3)
            for b in range(int(255 * p[1]) - 1, int(255 * p[1]) + 3)
        )
        assert ours == pytest.approx(best, abs=1e-12)


def test_rows_with_nothing_become_uniform() -> None:
    codes = probability8.codes(np.array([[0.0, 0.0, 0.0], [-1.0, -2.0, -3.0]]))
    np.testing.assert_array_equal(codes, [[85, 85, 85], [85, 85, 85]])


def test_certainty_is_exact() -> None:
    body = probability8.encode(np.eye(4, dtype=np.float32))
    np.testing.assert_array_equal(probability8.decode(body, 4, 4), np.eye(4))


def test_a_row_that_does_not_sum_is_refused() -> None:
    body = bytearray(probability8.encode(np.eye(4, dtype=np.float32)))
    body[1] += 1
    with pytest.raises(MessageError, match="does not sum to 255"):
        probability8.decode(bytes(body), 4, 4)
