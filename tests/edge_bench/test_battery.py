"""The battery in short: what is run, what is chosen on which rows, and that it goes on where it was."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_bench import cli
from edge_bench.collection import available
from edge_bench.measurements import battery
from edge_bench.measurements.battery import RATES, BatteryRow, summarized
from edge_sim import jobs


def row(gap: float, split: str = "classes:2", **more: Any) -> BatteryRow:
    """Two seeds, the default at .9."""
    accuracy = {"isolated": [0.4, 0.4], "paper": [0.7, 0.7], "default": [0.9, 0.9], "fedavg": [0.5, 0.5]}
    accuracy["d-psgd"] = [0.9 + gap, 0.9 + gap]
    values = {"data": "d", "topology": "ring", "worst": accuracy, "rates": {}, "reach": 300.0, **more}
    return BatteryRow(split=split, accuracy=accuracy, **values)


def test_the_summary() -> None:
    summary = summarized([row(0.02), row(-0.1), row(0.04), row(0.2, split="iid", reach=150.0)])
    assert summary.median_gap == pytest.approx(0.03)
    assert summary.worst_gap == pytest.approx(0.2)
    assert summary.within == {1: 0.25, 3: 0.5, 5: 0.75}
    assert summary.below_isolated == 0
    assert summary.over_paper == pytest.approx(0.2)
    assert summary.least_reach == 150
    assert summary.gap_interval[0] <= summary.median_gap <= summary.gap_interval[1]


def source(folder: Path) -> Path:
    random = np.random.default_rng(0)
    y = np.arange(400) % 4
    x = (3 * np.eye(4, 6)[y] + random.standard_normal((400, 6))).astype(np.float32)
    path = folder / "somebody-s.npz"
    np.savez(path, x_train=x[:320], y_train=y[:320], x_test=x[320:], y_test=y[320:], place=np.arange(320) // 4 % 5)
    return path


def test_any_source_is_run_and_what_was_run_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out, report = tmp_path / "out.json", tmp_path / "out.html"
    flags = ["--sets", f"npz:{source(tmp_path)}", "--splits", "by", "--topologies", "ring", "--seeds", "0"]
    flags += ["--columns", "default,d-psgd,fedavg,labels", "--devices", "3", "--rounds", "2"]
    flags += ["--model", "zoo:mlp:8", "--jobs", "1", "--out", str(tmp_path / "kept"), "--json", str(out)]
    monkeypatch.setattr(sys, "argv", ["edge-bench", "battery", *flags, "--report", str(report)])
    assert cli.main() == 0
    found = json.loads(out.read_text())
    assert [(r["data"], r["split"]) for r in found["rows"]] == [("somebody-s", "by:place")]
    assert all(rate in RATES for r in found["rows"] for rate in r["rates"].values())
    assert found["rows"][0]["rates"].keys() == {"d-psgd", "fedavg"}
    assert "Gaps" in report.read_text()
    runs = len(list((tmp_path / "kept" / "runs").iterdir()))
    assert runs == 4 + 2 * len(RATES)

    def never(_job: jobs.Job) -> jobs.JobOutcome:
        raise AssertionError("it was run again")

    monkeypatch.setattr(jobs, "perform", never)
    monkeypatch.setattr(sys, "argv", ["edge-bench", "battery", *flags])
    assert cli.main() == 0
    assert json.loads(out.read_text())["rows"] == found["rows"]
    capsys.readouterr()


def test_nothing_is_chosen_on_what_is_tested_on(tmp_path: Path) -> None:
    """Devices, reference set, validation and test part have no row in common."""
    sources = battery.prepared([f"npz:{source(tmp_path)}"], tmp_path, None)
    plan = battery.BatteryPlan(sources, ("iid",), ("ring",), ("default",), (0,), 3, 2, "zoo:mlp:8", {})
    (cell,) = battery.cells(plan, "somebody-s", tmp_path, {})
    several = battery.cells(replace(plan, splits=("classes:40%", "by")), "somebody-s", tmp_path, {})
    assert [c.row[1] for c in several] == ["classes:2", "by:place"]
    files = cell.files
    with np.load(files.private) as private, np.load(files.validation) as chosen, np.load(files.reference) as public:
        rows = {name: {r.tobytes() for r in part} for name, part in [
            ("private", private["x_train"]), ("test", private["x_test"]), ("reference", public["x"]),
            ("fewer", chosen["x_train"]), ("validation", chosen["x_test"]),
        ]}  # fmt: skip
    assert rows["fewer"] | rows["validation"] == rows["private"]
    assert not rows["fewer"] & rows["validation"]
    assert not rows["private"] & rows["test"]
    assert not rows["reference"] & (rows["private"] | rows["test"])
    assert len(np.load(files.labels)) == len(rows["reference"])


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--sets", "nowhere"], "--sets nowhere: no such set; there are "),
        (["--columns", "default,d-psgd,guess"], "--columns guess: there are isolated, "),
        (["--columns", "isolated"], "--columns: default is needed"),
        (["--columns", "default,d-psgd"], "--columns: fedavg is needed"),
        (["--set", "rate"], "--set rate: expected KEY=VALUE"),
        (["--sets", "wine", "--set", "weightings=none"], "--set weightings: no such setting of our protocols"),
    ],
)
def test_what_cannot_be_is_one_line(
    flags: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-bench", "battery", "--out", str(tmp_path), *flags])
    assert cli.main() == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize("name", ["iris", "wine", "breast-cancer", "digits", "digits-raw", "diabetes-quartiles"])
def test_the_sets_that_packages_ship(name: str) -> None:
    table = available(None)[name]()
    assert table.x.dtype == np.float32
    assert np.isfinite(table.x).all()
    assert len(table.x) == len(table.y)
