"""Whoever has learnt nothing is told so, everywhere."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from broker.dashboard.state import FleetState
from edge import outcome
from edge_sim import Scenario, cli, run


def test_chance_is_guessing_or_the_most_frequent_class() -> None:
    assert outcome.chance(np.array([0, 1, 2, 3]), 4) == 0.25
    assert outcome.chance(np.array([0, 0, 0, 1]), 4) == 0.75


@pytest.mark.parametrize(
    ("accuracy", "losses", "keys"),
    [
        (0.52, [2.0, 1.9, 1.8, 1.7, 1.6, 1.5], {"at_chance"}),
        (0.53, [2.0, 1.9, 1.8, 1.7, 1.6, 1.5], set()),
        (0.9, [2.0, 1.0, 1.0, 1.0, 2.0, 2.0], {"loss_not_fallen"}),
        (0.9, [2.0, 1.0, 1.0, 1.0, float("nan"), float("nan")], {"loss_not_fallen"}),
        (0.3, [2.0, 2.0, 2.0, 2.0, 2.0, 2.0], {"at_chance", "loss_not_fallen"}),
        (None, [2.0, 2.0], set()),
        (None, [], set()),
    ],
)
def test_judging(accuracy: float | None, losses: list[float], keys: set[str]) -> None:
    y = np.array([0, 1])
    judged = outcome.judge(accuracy, y, 2, losses)
    assert judged.keys() == keys
    assert len(outcome.sentences(judged, accuracy, None)) == len(keys)


def test_the_loss_of_distillation_may_rise() -> None:
    assert outcome.supervised_loss({"loss": 9.0, "loss/cross_entropy": 0.5}) == 0.5
    assert outcome.supervised_loss({"loss": 9.0}) == 9.0
    assert outcome.supervised_loss({"round": 1.0}) is None


def noise(folder: Path) -> str:
    random = np.random.default_rng(0)
    np.savez(folder / "noise.npz", x=random.normal(size=(600, 5)), y=np.arange(600) % 3)
    return f"npz:{folder / 'noise.npz'}"


def test_the_emulator_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", noise(tmp_path), "--devices", "2", "--rounds", "6", "--model", "zoo:linear", "--reference", "60"]
    words += ["--topology", "complete", "--compare", "isolated", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", ["edge-sim", *words, "--set", "learning_rate=1e-6"])
    assert cli.main() == 0
    printed = capsys.readouterr().out
    assert "d-distillation: 2 of 2 devices have learnt nothing. device-0: its accuracy of 0." in printed
    assert "is that of chance (0.333)" in printed
    assert re.search(r"^isolated: [12] of 2 devices have learnt nothing\.$", printed, re.MULTILINE)
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["comparison"][0]["not_learnt"] == 2
    assert result["devices"][0]["outcome"]["at_chance"] == pytest.approx(1 / 3)


def test_nothing_is_said_of_those_who_learn() -> None:
    result = run(Scenario(devices=2, topology="complete", rounds=8, model="zoo:mlp:16", rows=400, reference="60"))
    assert not any(device.outcome for device in result.devices)
    assert result.summary().not_learnt == 0
    assert [note for note in result.notes if "standardized" not in note] == []


def test_the_dashboard_shows_it() -> None:
    state = FleetState("f", lambda: 1000.0)
    row = {"round": 9.0, "loss": 1.1, "accuracy_all": 0.34, "at_chance": 0.333, "loss_not_fallen": 1.05}
    state.report("a", row, 1000.0)
    (device,) = state.snapshot()["devices"]
    assert device["alarms"]["learning"] == (
        "its accuracy of 0.340 is that of chance (0.333), its loss has not fallen (1.05 in the first round, 1.1 in the "
        "last)"
    )
    state.acknowledge("a")
    assert "learning" not in state.snapshot()["devices"][0]["alarms"]
    state.report("a", row, 1001.0)
    assert "learning" in state.snapshot()["devices"][0]["alarms"]


def test_the_dashboard_shows_whose_messages_are_about_something_else() -> None:
    state = FleetState("f", lambda: 1000.0)
    state.report("a", {"round": 2.0, "refused_foreign": 4.0, "refused_other_digest/b": 4.0}, 1000.0)
    (device,) = state.snapshot()["devices"]
    assert device["alarms"]["rejected"] == (
        "4 messages refused; another reference set, model or class names at b (their digest differs)"
    )
