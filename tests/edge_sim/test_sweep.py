"""Scenario files as questions: points, expectations, resuming; and the library in scenarios/."""

import json
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ConfigError
from edge_bench.commands import sweep
from edge_sim import cli, study
from edge_sim.run import run

ROOT = Path(__file__).parent.parent.parent
LIBRARY = sorted((ROOT / "scenarios").glob("*.toml"))
QUICK = ("asymmetric-links", "drift", "mixed-boards")
"""those that are asked in full here; the others take a minute each"""

FILE = """
question = "Is more learnt together?"
devices = 3
split = "classes:4"
model = "zoo:mlp:8"
rounds = 4
seeds = 2
[variants.together]
[variants.alone]
protocol = "isolated"
[grid]
"settings.d-distillation.local_steps" = [2, 4]
[[expect]]
say = "bytes are sent"
measure = "payload_bytes_per_device"
of = "together, settings.d-distillation.local_steps=2"
than = "alone, settings.d-distillation.local_steps=2"
at_least = 1
[[expect]]
say = "a thousand rounds"
measure = "rounds"
of = "alone, settings.d-distillation.local_steps=4"
at_least = 1000
"""


def asked(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["edge-sim", "sweep", *words])
    return cli.main()


def test_a_grid_over_variants_with_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "together.toml", tmp_path / "out"
    path.write_text(FILE)
    words = [str(path), "--out", str(out), "--workers", "2"]
    assert asked(monkeypatch, *words, "--json", str(tmp_path / "first.json")) == 0
    printed = capsys.readouterr().out
    assert "Is more learnt together?" in printed
    assert "1 of 2 checks passed" in printed
    first = json.loads((tmp_path / "first.json").read_text())
    (answer,) = first["answers"]
    assert [point["label"].split("=")[-1] for point in answer["points"]] == ["2", "4"] * 2
    assert [len(point["mean_accuracy"]) for point in answer["points"]] == [2] * 4
    assert [verdict["holds"] for verdict in answer["verdicts"]] == [True, False]
    assert first["resumed"] == 0
    runs = sorted(out.glob("*.json"))
    assert len(runs) == 8
    assert {"sweep.csv", "sweep.html"} <= {path.name for path in out.iterdir()}

    runs[0].unlink()
    runs[1].write_text(runs[1].read_text()[:-40])  # cut short
    assert asked(monkeypatch, *words, "--json", str(tmp_path / "again.json")) == 0
    again = json.loads((tmp_path / "again.json").read_text())
    assert again["resumed"] == 6
    assert again["answers"] == first["answers"]
    path.write_text(FILE.replace("rounds = 4", "rounds = 3"))  # another setting has nothing to go on from
    assert asked(monkeypatch, *words, "--json", str(tmp_path / "other.json")) == 0
    assert json.loads((tmp_path / "other.json").read_text())["resumed"] == 0


def test_a_point_is_the_scenario_with_its_changes(tmp_path: Path) -> None:
    path = tmp_path / "together.toml"
    path.write_text(FILE)
    question = study.read(path, {"devices": 4})
    alone = study.scenario(question.points["alone, settings.d-distillation.local_steps=4"], seed=1)
    assert (alone.protocol, alone.devices, alone.seed) == ("isolated", 4, 1)
    assert alone.settings == {"d-distillation": {"local_steps": 4}}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({'split = "classes:4"': 'spilt = "iid"'}, "spilt: no such key"),
        ({"[2, 4]": "[2, -1]"}, "(together, settings.d-distillation.local_steps=-1): settings.d-distillation"),
        ({'of = "alone, settings': 'of = "single, settings'}, "expect[1]: there is no 'single,"),
        ({'measure = "rounds"': 'measure = "beauty"'}, "expect.1.measure"),
        ({"devices = 3": "devices = 3\nboard = 'pi-9'"}, "unknown board 'pi-9'"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, change: dict[str, str], complaint: str) -> None:
    text = FILE
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as raised:
        study.read(path, {})
    assert complaint in str(raised.value)
    assert "wrong.toml" in str(raised.value)


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.stem)
def test_the_library_can_be_asked(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hapt.npz").touch()
    question = study.read(path, {})
    assert "# Expected:" in path.read_text()
    if path.stem != "demo":
        assert question.question
        assert question.expect
        assert f"| `{path.stem}` |" in (ROOT / "docs" / "emulator.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_library_is_right(name: str) -> None:
    question = study.read(ROOT / "scenarios" / f"{name}.toml", {})
    measured: dict[str, Any] = {}
    for label, point in question.points.items():
        measured[label] = study.measures([run(study.scenario(point, seed)) for seed in range(question.seeds)])
    for one in question.expect:
        assert one.holds(one.value(measured)), one.say


def test_progress_has_every_run(tmp_path: Path) -> None:
    path = tmp_path / "together.toml"
    path.write_text(FILE)
    args = type("Args", (), {"files": [path], "seeds": 1, "rounds": 2, "out": None, "workers": 1})()
    seen: list[tuple[int, int]] = []
    sweep.SPEC.run(args, lambda done, total, _: seen.append((done, total)))
    assert seen == [(n, 4) for n in range(5)]
