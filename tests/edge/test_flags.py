"""Flags that are made of fields: those there were before, what a file and they say together, help, refusals."""

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from edge import cli, renames
from edge.config import NodeConfig, RunConfig, Table, checked
from edge.flags import Parser, documentation, leaves
from edge.installation import Installation
from edge_sim import cli as sim
from edge_sim.scenario import Scenario
from edge_sim.scenario_files import read
from tests import key_tables
from tests.refusals import refusal

WORDS = """
--devices 4 --topology star --protocol d-psgd --compare isolated,fedavg --data digits --rows 100 --split classes:4
--reference 60 --model zoo:mlp:8 --model zoo:mlp:16 --split-at Relu_5 --edge-model zoo:mlp:4 --optimizer adam
--engine tflite --workers 2 --rounds 7 --seed 3 --transport mqtt --broker mqtt://127.0.0.1:1 --coding float32
--weight-coding float16 --aggregation median --noise gaussian:0.5 --temperature 2 --byzantine random:1
--evaluate-every 2 --convergence 3 --uplink 10 --downlink 20.5 --latency 0.5 --jitter 0.25 --packet-loss 0.125
--duplication 0.0625 --board pi-4 --replay metrics --round-timeout 9 --set learning_rate=0.5 --set local_steps=3
--set order=stream --fleet mine
"""


def parser(model: type[Table]) -> Parser:
    flags = Parser(prog="program")
    flags.add_settings(model)
    return flags


def given(model: type[Table], *words: str) -> dict[str, Any]:
    flags = parser(model)
    return flags.given(flags.parse_args(words))


def test_all_flags_give_the_values_of_a_file() -> None:
    values = given(Scenario, *WORDS.split())
    assert values.pop("settings") == {"learning_rate": 0.5, "local_steps": 3, "order": "stream"}
    assert values == {
        "devices": 4,
        "topology": "star",
        "protocol": "d-psgd",
        "compare": ["isolated", "fedavg"],
        "data": "digits",
        "rows": 100,
        "split": "classes:4",
        "reference": "60",
        "model": ["zoo:mlp:8", "zoo:mlp:16"],
        "split_at": "Relu_5",
        "edge_model": "zoo:mlp:4",
        "optimizer": "adam",
        "engine": "tflite",
        "workers": 2,
        "rounds": 7,
        "seed": 3,
        "transport": "mqtt",
        "broker": "mqtt://127.0.0.1:1",
        "fleet": "mine",
        "coding": {"soft_labels": "float32", "weights": "float16"},
        "privacy": {"noise": "gaussian:0.5", "temperature": 2},
        "aggregation": "median",
        "byzantine": "random:1",
        "evaluate_every": 2,
        "convergence": 3,
        "board": "pi-4",
        "uplink": 10,
        "downlink": 20.5,
        "latency": 0.5,
        "jitter": 0.25,
        "packet_loss": 0.125,
        "duplication": 0.0625,
        "replay": "metrics",
        "round_timeout": 9,
    }
    assert checked(Scenario, values, "flags").model == ("zoo:mlp:8", "zoo:mlp:16")


def test_what_is_not_given_is_not_there() -> None:
    assert given(Scenario) == given(NodeConfig) == {}
    assert given(Scenario, "--model", "zoo:mlp", "--privacy.noise", "laplace:1") == {
        "model": "zoo:mlp",
        "privacy": {"noise": "laplace:1"},
    }
    assert given(NodeConfig, "--no-home-assistant", "--peers", "a,b", "--tls.ca", "ca.crt") == {
        "home_assistant": False,
        "peers": ["a", "b"],
        "tls": {"ca": "ca.crt"},
    }


def test_flags_go_over_a_scenario(tmp_path: Path) -> None:
    path = tmp_path / "scenario.toml"
    path.write_text(
        "rounds = 3\n[privacy]\nnoise = 'laplace:1'\n[settings.d-distillation]\npull = 3.0\nlocal_steps = 2\n"
    )
    flags = given(Scenario, "--rounds", "5", "--temperature", "2")
    flags["settings"] = {"d-distillation": given(Scenario, "--set", "distillation_weight=4")["settings"]}
    with pytest.warns(renames.RenamedWarning, match="'pull' is called 'distillation_weight' now"):
        scenario = read(path, flags)
    assert scenario.rounds == 5
    assert scenario.privacy.model_dump() == {"noise": "laplace:1", "temperature": 2.0}
    assert scenario.settings == {"d-distillation": {"distillation_weight": 4, "local_steps": 2}}


def test_flags_go_over_a_node(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text("id = 'a'\npeers = ['a', 'b']\nbundle = 'b'\npatience = 7\n[settings]\nlocal_steps = 2\n")
    words = ["--id", "b", "--round-timeout", "8", "--set", "learning_rate=0.5", "--coding.weights", "float16"]
    with pytest.warns(renames.RenamedWarning):
        node = Installation.read(path, given(NodeConfig, *words))
    assert (node.id, node.config.round_timeout, node.config.coding.weights) == ("b", 8.0, "float16")
    assert node.config.settings == {"local_steps": 2, "learning_rate": 0.5}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--rounds", "-1"], "rounds: Input should be greater than or equal to 1 (got -1)"),
        (
            ["--rounds", "many"],
            "rounds: Input should be a valid integer, unable to parse string as an integer (got 'many')",
        ),
        (["--set", "learning_rate"], "--set learning_rate: expected KEY=VALUE, e.g. learning_rate=0.2"),
        (["--transport", "pigeon"], "transport: Input should be 'memory' or 'mqtt' (got 'pigeon')"),
        (["--liars", "random:1", "--byzantine", "random:1"], "both are given: keep 'byzantine'"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in refusal(sim.main, "edge-sim", words, monkeypatch, capsys)


@pytest.mark.parametrize(("main", "words"), [(sim.main, []), (cli.main, ["--config", "node.toml"])])
def test_an_unknown_flag_is_one_line(
    main: Any, words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["program", *words, "--no-such-flag"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "error: unrecognized arguments: --no-such-flag; " in line


@pytest.mark.parametrize("model", [NodeConfig, Scenario])
def test_help_documents_every_flag(model: type[Table]) -> None:
    text = " ".join(parser(model).format_help().split())
    for leaf in leaves(model):
        assert f"--{leaf.key.replace('_', '-')} " in text
        assert documentation(leaf.owner)[leaf.path[-1]] in text, leaf.key
    assert "--patience" not in text  # an old name works, and is not advertised


@pytest.mark.parametrize("name", key_tables.PAGES)
def test_the_tables_of_keys_are_those_of_the_fields(name: str) -> None:
    assert (key_tables.DOCS / name).read_text() == key_tables.page(name), "run python -m tests.key_tables"


def test_the_example_in_the_documentation_is_a_node() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", (key_tables.DOCS / "node.md").read_text(), re.S)
    checked(NodeConfig, tomllib.loads(example), "docs/node.md")


def test_a_node_and_a_scenario_share_their_defaults() -> None:
    """But for those that `Scenario` says why of."""
    differ = {
        name
        for name, field in NodeConfig.model_fields.items()
        if name in Scenario.model_fields and field.default != Scenario.model_fields[name].default
    }
    assert differ == {"split", "threads", "broker", "fleet"}
    assert NodeConfig.model_fields.keys() & Scenario.model_fields.keys() == {
        *RunConfig.model_fields,
        *("broker", "fleet", "settings"),
    }
