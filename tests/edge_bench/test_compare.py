"""Statistics against closed forms, and two results compared."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edge_bench import cli
from edge_bench.commands.compare import compare, numbers
from edge_bench.intervals import BURST, in_turns, interval, ratio, ratio_interval


def test_an_interval_holds_the_median_as_often_as_it_says() -> None:
    """Of 300 samples of 25 from a normal distribution; the bootstrap of a median is a little cautious."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        low, high = interval(list(random.normal(5, 1, 25)))
        held += low <= 5 <= high
    assert 0.91 <= held / 300 <= 0.99


def test_a_single_value_is_its_own_interval() -> None:
    assert interval([3.0]) == (3.0, 3.0)
    assert ratio_interval([6.0], [3.0]) == (2.0, 2.0)
    assert ratio([6.0, 8.0], [2.0]) == 3.5
    assert np.isnan(ratio([1.0], [0.0]))


def test_turns_are_taken_alike() -> None:
    order: list[str] = []
    times = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 0.01)
    assert len(times["a"]) == len(times["b"]) >= BURST
    assert order[: 4 * BURST] == [*["a"] * BURST, *["b"] * BURST] * 2  # the first of each is the warm-up
    assert order.count("a") == len(times["a"]) + BURST


def result(**changes: Any) -> dict[str, Any]:
    lines = [
        {"coding": "fine", "bytes": 100, "seconds": [1.0, 1.1, 0.9, 1.0, 1.05], "on": True},
        {"coding": "coarse", "bytes": 10, "seconds": [0.5, 0.5, 0.6, 0.55, 0.5]},
    ]
    return {"environment": {"cpu": "x", "packages": {"numpy": "1"}}, "lines": lines, "rows": 300, **changes}


def test_numbers_are_found_by_name_whatever_the_order() -> None:
    one, two = result(), result(lines=result()["lines"][::-1])
    assert numbers(one) == numbers(two)
    assert numbers(one)["lines/coarse/bytes"] == [10]
    assert {change.verdict for change in compare(one, two).changes} == {"same"}


def test_a_coding_is_known_by_its_name_of_an_earlier_release() -> None:
    before, now = ({"lines": [{"coding": name, "bytes": 10}]} for name in ("probability8", "simplex:8"))
    assert [change.verdict for change in compare(before, now).changes] == ["same"]


def test_what_changed_beyond_noise() -> None:
    lines = result()["lines"]
    lines[0] |= {"seconds": [2.0, 2.1, 1.9, 2.0, 2.05], "bytes": 101}
    lines[1] |= {"seconds": [0.52, 0.5, 0.58, 0.55, 0.5], "new": 1}
    changed = result(lines=lines, environment={"cpu": "y", "packages": {"numpy": "1"}})
    compared = compare(result(), changed)
    verdicts = {change.path: change.verdict for change in compared.changes}
    assert verdicts == {
        "lines/fine/bytes": "differs",
        "lines/fine/seconds": "changed",
        "lines/coarse/bytes": "same",
        "lines/coarse/seconds": "same",
        "rows": "same",
    }
    (slower,) = [change for change in compared.changes if change.verdict == "changed"]
    assert slower.ratio == pytest.approx(2)
    assert slower.low is not None
    assert slower.low > 1.5
    assert compared.places == {"cpu": ("x", "y")}
    assert compared.only_second == ["lines/coarse/new"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(json_values, json_values)
@example([1], [[float("-inf")]])
def test_any_two_files_can_be_compared(first: Any, second: Any) -> None:
    for change in compare(first, second).changes:
        assert change.path in numbers(first)
    assert all(change.verdict == "same" for change in compare(first, first).changes)


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    changed = result()
    changed["lines"][0]["bytes"] = 150
    for path, content in zip(paths, (result(), changed), strict=True):
        path.write_text(json.dumps(content))
    monkeypatch.setattr(sys, "argv", ["edge-bench", "compare", *map(str, paths)])
    assert cli.main() == 0
    printed = capsys.readouterr().out
    assert "lines/fine/bytes" in printed
    assert "lines/coarse/bytes" not in printed
    assert "Of 5 numbers in both 0 changed beyond noise, 1 differ (too few to tell), 4 are the same." in " ".join(
        printed.split()
    )
    monkeypatch.setattr(sys, "argv", ["edge-bench", "compare", *map(str, paths), "--json", "-"])
    assert cli.main() == 0
    assert json.loads(capsys.readouterr().out)["changes"][0]["ratio"] == 1.5


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "is not JSON"), ("{}", "have no number in common"), (None, "cannot read")],
)
def test_files_that_cannot_be_compared(
    content: str | None,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["edge-bench", "compare", str(path), str(path)])
    assert cli.main() == 2
    assert complaint in capsys.readouterr().err
