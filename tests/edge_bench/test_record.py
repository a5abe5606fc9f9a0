"""The record of ratios: what counts as worse."""

import pytest

pytest.importorskip("torch")

from benchmarks.record import HISTORY as KEPT
from benchmarks.record import Ratio, read, worsened
from edge.codec import names

HISTORY: list[dict[str, Ratio]] = [
    {"step": (0.50, 0.48, 0.52), "noisy": (1.0, 0.9, 1.1), "bytes": (0.1, 0.1, 0.1)},
    {"step": (0.51, 0.49, 0.53), "noisy": (1.3, 1.2, 1.4), "bytes": (0.1, 0.1, 0.1)},
    {"step": (0.49, 0.47, 0.51), "noisy": (0.9, 0.8, 1.0), "bytes": (0.1, 0.1, 0.1)},
]


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("name", "now", "worse"),
    [
        ("step", (0.52, 0.51, 0.53), False),
        ("step", (0.56, 0.55, 0.57), True),
        ("step", (0.56, 0.40, 0.72), False),  # measured too roughly to say
        ("step", (0.10, 0.10, 0.10), False),
        ("noisy", (1.25, 1.2, 1.3), False),  # has been there before
        ("noisy", (1.5, 1.45, 1.55), True),
        ("bytes", (0.104, 0.104, 0.104), False),
        ("bytes", (0.11, 0.11, 0.11), True),
        ("new", (9.0, 9.0, 9.0), False),
    ],
)
def test_worse_is_beyond_the_band(name: str, now: Ratio, worse: bool) -> None:
    assert (name in worsened({name: now}, HISTORY)) == worse


@pytest.mark.oracle
def test_the_record_knows_every_coding_by_its_name_of_today() -> None:
    """A ratio under another name would be compared with nothing."""
    for record in read(KEPT):
        codings = {name.partition("/")[2] for name in record["ratios"] if name.startswith("bytes/")}
        assert codings <= set(names("soft-labels"))
    assert "simplex:8" in codings
