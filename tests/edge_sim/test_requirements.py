"""What a scenario must fulfil: every rule is broken by some scenario; files, flags and Python are refused alike."""

from typing import Any

import pytest

from edge.errors import ConfigError
from edge_sim import requirements, scenario_files
from edge_sim.requirements import ABSENCE, FILES, LINK, PROTOCOL, SCENARIO
from edge_sim.run import run
from edge_sim.scenario import Scenario

BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"engine": "tflite", "workers": 2}, "workers: tflite computes for one device at a time"),
    ({"byzantine": "random:8"}, "byzantine 'random:8': of 8 devices one at least has to be honest"),
    ({"engine": "ray", "convergence": 1}, "devices on Ray talk through memory"),
    ({"engine": "ray", "replay": "."}, "replay: not on Ray"),
    ({"transport": "mqtt", "latency": 0.1}, "links, boards and absences are emulated in memory"),
    ({"broker": "mqtt://127.0.0.1"}, "broker: mqtt://127.0.0.1 is given, but transport is 'memory'"),
    ({"standardize": "always", "model": "."}, "standardize: a bundle is trained as it was exported"),
    ({"replay": ".", "board": "pi-4"}, "replay: the field test says how long devices compute"),
    (
        {"engine": "ray", "protocol": "fedgkt", "split_at": "Relu_5", "model": "zoo:mlp:16-8"},
        "engine: devices of fedgkt are evaluated with their centre's model; not on Ray",
    ),
    ({"links": [{"of": "0", "to": "1", "uplink": 3.0}]}, "links[0]: uplink and downlink are of a device"),
    ({"absences": [{"of": "0", "every": 3.0}]}, "absences[0].every: who has left for good cannot leave again"),
    (
        {"absences": [{"of": "0"}, {"of": "1", "seconds": 3.0, "every": 2.0}]},
        "absences[1]: they never come back, as `every` 2 <= `seconds` 3",
    ),
    ({"absences": [{"of": "100%"}]}, "absences[0]: nobody would be left"),
    ({"absences": [{"of": "0", "asleep": True}]}, "absences[0].asleep: who has left for good does not wake up"),
    ({"data": "npz:nowhere.npz"}, "data: npz:nowhere.npz cannot be read: there is no such file"),
    ({"reference": "npz:nowhere.npz"}, "reference: npz:nowhere.npz cannot be read: there is no such file"),
    ({"model": "nowhere.onnx"}, "model: no ONNX file at nowhere.onnx"),
    ({"model": "nowhere"}, "model 'nowhere' is neither zoo:NAME, nor a bundle's folder, nor a .onnx file"),
    ({"settings": {"gossip": {}}}, "settings.gossip: no such protocol"),
]


@pytest.mark.parametrize(("values", "problem"), BROKEN, ids=lambda value: str(value)[:60])
def test_a_broken_rule_is_one_sentence_wherever_the_scenario_is_from(values: dict[str, Any], problem: str) -> None:
    (sentence,) = [one for one in requirements.problems(Scenario(**values)) if problem in one]
    with pytest.raises(ConfigError) as from_flags:
        scenario_files.read(None, values)
    with pytest.raises(ConfigError) as from_python:
        run(Scenario(**values))
    for raised in (from_flags, from_python):
        assert sentence in str(raised.value)
        assert "\n" not in str(raised.value)


def test_every_rule_is_in_the_list_above() -> None:
    rules = len(SCENARIO) + len(PROTOCOL) + len(LINK) + len(ABSENCE) + len(FILES)
    assert len(BROKEN) == rules + 1  # and the settings of an unknown protocol


def test_several_problems_are_counted_and_named_after_their_origin() -> None:
    values = {"byzantine": "random:8", "absences": [{"of": "all"}]}
    with pytest.raises(ConfigError, match=r"^scenario: 2 problems: byzantine 'random:8'.*; absences\[0\]: nobody"):
        run(Scenario(**values))


def test_a_possible_scenario_has_no_problem() -> None:
    assert requirements.problems(Scenario()) == []
