"""Settings: what is accepted, under which names, and what a refusal says."""

import sys
from pathlib import Path
from typing import Any

import pytest

from edge import algorithm, cli, renames
from edge.config import NodeConfig, checked
from edge.errors import ConfigError
from edge_sim import cli as sim
from edge_sim import study
from edge_sim.scenario import Scenario
from edge_sim.scenario_files import read

NODE = {"id": "a", "peers": ["a", "b"], "bundle": "bundle"}


def test_an_old_name_counts_with_a_notice() -> None:
    with pytest.warns(renames.RenamedWarning, match="'patience' is called 'round_timeout' now"):
        assert checked(NodeConfig, {**NODE, "patience": 7}, "node.toml").round_timeout == 7
    with pytest.warns(renames.RenamedWarning, match="'loss' is called 'packet_loss' now"):
        links = checked(Scenario, {"links": [{"of": "0", "loss": 0.25}]}, "scenario").links
    assert links[0].packet_loss == 0.25


@pytest.mark.parametrize(
    ("values", "refusal"),
    [
        (
            {"patience": 7, "round_timeout": 8},
            "node.toml: 'patience' is the old name of 'round_timeout'; both are given: keep 'round_timeout'",
        ),
        ({"timeout": 7}, "node.toml: timeout: no such key"),
        ({"coding": {"loss": 1}}, "node.toml: coding.loss: Input should be a valid string (got 1)"),
    ],
)
def test_both_names_and_unknown_ones_are_refused(values: dict[str, Any], refusal: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked(NodeConfig, {**NODE, **values}, "node.toml")
    assert str(raised.value) == refusal


@pytest.mark.parametrize(
    ("old", "new"), [("robust", "aggregation"), ("liars", "byzantine"), ("patience", "round_timeout")]
)
def test_old_names_of_scenarios(old: str, new: str) -> None:
    value: Any = {"aggregation": "median", "byzantine": "random:1", "round_timeout": 7.0}[new]
    with pytest.warns(renames.RenamedWarning, match=f"'{old}' is called '{new}' now"):
        assert vars(checked(Scenario, {old: value}, "scenario"))[new] == value
    with pytest.raises(ConfigError, match=f"'{old}' is the old name of '{new}'; both are given"):
        checked(Scenario, {old: value, new: value}, "scenario")


@pytest.mark.parametrize(
    ("protocol", "old", "new", "value"),
    [
        ("d-distillation", "pull", "distillation_weight", 3.0),
        ("compressed-federated-distillation", "pull", "distillation_weight", 3.0),
        ("fedavg", "every", "sync_interval", 3),
        ("periodic-averaging", "every", "sync_interval", 3),
        ("dynamic-averaging", "every", "sync_interval", 3),
        ("fedgkt", "most", "max_samples", 30),
        ("pooled", "most", "max_samples", 30),
        ("mix2fld", "ratio", "mixup_lambda", 0.2),
    ],
)
def test_old_names_of_protocols_settings(protocol: str, old: str, new: str, value: float) -> None:
    with pytest.warns(renames.RenamedWarning, match=f"settings: '{old}' is called '{new}' now"):
        assert vars(algorithm.load(protocol, {old: value}, "settings").settings)[new] == value
    with pytest.raises(ConfigError, match=f"settings: '{old}' is the old name of '{new}'; both are given"):
        algorithm.load(protocol, {old: value, new: value}, "settings")


def test_both_names_in_a_table_within() -> None:
    with pytest.raises(
        ConfigError, match=r"scenario: links\.0: 'loss' is the old name of 'packet_loss'; both are given"
    ):
        checked(Scenario, {"links": [{"loss": 0.1, "packet_loss": 0.2}]}, "scenario")


def test_commands_say_it_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "node.toml"
    path.write_text('id = "a"\npeers = ["a", "b"]\nbundle = "none"\npatience = 7\n')
    monkeypatch.setattr(sys, "argv", ["edge-node", "--config", str(path)])
    assert cli.main() == 2
    notice, error = capsys.readouterr().err.splitlines()
    assert notice.startswith(f"edge-node: note: {path}: 'patience' is called 'round_timeout' now; the old name is ")
    assert error.startswith("edge-node: error: ")
    monkeypatch.setattr(sys, "argv", ["edge-sim", "--loss", "0.1", "--packet-loss", "0.2"])
    assert sim.main() == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("edge-sim: error: ")
    assert error.endswith("'loss' is the old name of 'packet_loss'; both are given: keep 'packet_loss'")


def test_files_of_different_ages_go_over_one_another(tmp_path: Path) -> None:
    """An old key in the file and the new one on the command line, or in a variant: the later counts."""
    path = tmp_path / "old.toml"
    path.write_text("patience = 7.0\nloss = 0.5\n[variants.new]\nround_timeout = 8.0\n[grid]\npacket_loss = [0.25]\n")
    with pytest.warns(renames.RenamedWarning):
        scenario = read(path, {"round_timeout": 9.0})
    assert (scenario.round_timeout, scenario.packet_loss) == (9.0, 0.5)
    with pytest.warns(renames.RenamedWarning):
        (point,) = study.read(path, {}).points.values()
    assert point == {"round_timeout": 8.0, "packet_loss": 0.25}
