"""edge-bench wire: its arithmetic against closed forms, and a small run from the command line."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_bench import cli
from edge_bench.measurements import wire


def test_entropy() -> None:
    fair = np.array([0, 1] * 400, np.uint8)
    assert wire.entropy(fair) == pytest.approx(100)  # 800 bits
    assert wire.entropy(fair, fair) == 0
    assert wire.entropy(fair, np.zeros_like(fair)) == pytest.approx(100)
    skewed = np.array([0] * 7 + [1], np.uint8)
    bits = -(7 * np.log2(7 / 8) + np.log2(1 / 8))
    assert wire.entropy(skewed) == pytest.approx(bits / 8)
    both = np.concatenate([fair, skewed]), np.concatenate([np.full(800, 3), np.full(8, 9)])
    assert wire.entropy(*both) == pytest.approx(100 + bits / 8)


def test_divergence() -> None:
    p, q = np.array([[0.5, 0.5], [1.0, 0.0]]), np.array([[0.25, 0.75], [0.5, 0.5]])
    expected = (0.5 * np.log(2) + 0.5 * np.log(2 / 3) + np.log(2)) / 2
    assert wire.divergence(p, q) == pytest.approx(expected)
    assert wire.divergence(p, p) == 0


def test_more_bits_lose_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "wire.json"
    words = [
        "edge-bench",
        "wire",
        "--classes",
        "10,12",
        "--rows",
        "60",
        "--first",
        "3",
        "--rounds",
        "2",
        "--json",
        str(out),
    ]
    monkeypatch.setattr(sys, "argv", words)
    assert cli.main() == 0
    for stream, classes in zip(json.loads(out.read_text())["streams"], (10, 12), strict=True):
        assert (stream["classes"], stream["rows"], stream["rounds"]) == (classes, 60, [3, 4])
        lines = {line["coding"]: line for line in stream["lines"]}
        for family in (("cuberoot", 6, 5, 4), ("log", 8, 6, 4), ("simplex", 8, 4, 2, 1), ("delta", 24, 15, 7, 3)):
            losses = [lines[f"{family[0]}:{b}"]["divergence"] for b in family[1:]]
            assert losses == sorted(losses)
        for b in (4, 6) if classes == 10 else ():
            assert lines[f"cuberoot:{b}"]["divergence"] < lines[f"log:{b}"]["divergence"]
        for name, line in lines.items():
            assert line["argmax"] == 1, name
            if line["conditional"] is not None:
                assert line["conditional"] <= line["zero_order"] * (1 + 1e-9)
                assert name.startswith("delta") or line["zero_order"] <= line["bytes"] * (1 + 1e-9)
        assert lines["float32"]["smaller"] == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--classes", "ten"], "--classes ten: expected different numbers"),
        (["--rounds", "0"], "at least one"),
        (["--rows", "1340"], "--rows 1340: 1347 samples leave 7 to train on"),
    ],
)
def test_bad_input(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-bench", "wire", *words])
    assert cli.main() == 2
    assert complaint in capsys.readouterr().err
