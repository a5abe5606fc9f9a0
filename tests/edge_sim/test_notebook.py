"""`from edge_sim import run`: what a notebook does with it."""

import importlib

import pytest

from edge import plugins
from edge.errors import ConfigError
from edge.protocols import PROTOCOLS
from edge_sim import Scenario, run
from edge_sim.result import Result


@pytest.fixture(scope="module")
def result() -> Result:
    return run(Scenario(devices=3, model="zoo:mlp:8", rounds=4, evaluate_every=2))


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames(result: Result, library: str) -> None:
    rounds, devices = result.frame(library=library), result.frame("devices", library=library)
    assert type(rounds).__module__.split(".")[0] == library
    assert list(rounds["round"]) == [1, 2, 3, 4]
    assert list(rounds["loss/cross_entropy"]) == [one.metrics["loss/cross_entropy"] for one in result.rounds]
    assert list(devices["id"]) == ["device-0", "device-1", "device-2"]
    assert {"accuracy_all", "payload_bytes_sent"} <= set(devices.columns)


def test_a_file_of_the_release_before_is_read(result: Result) -> None:
    text = result.model_dump_json()
    assert "disagreement" not in text
    old = Result.model_validate_json(text.replace('"consensus_distance"', '"disagreement"'))
    assert [one.consensus_distance for one in old.rounds] == [one.consensus_distance for one in result.rounds]
    assert old.rounds[-1].consensus_distance is not None


def test_without_either(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("edge_sim.result.import_module", missing)
    with pytest.raises(ConfigError, match="pandas or polars, which is not installed"):
        result.frame()
    assert importlib  # the real one is as it was


def test_a_registered_thing_is_like_a_file() -> None:
    before = plugins.names("edge.protocols")
    plugins.register("edge.protocols", "own_way", PROTOCOLS.load("isolated"))
    try:
        assert "own-way" in plugins.names("edge.protocols")
        same, other = (
            run(Scenario(devices=2, model="zoo:mlp:8", rounds=2, protocol=p)) for p in ("own-way", "isolated")
        )
        assert same.mean_accuracy == other.mean_accuracy
    finally:
        plugins.unregister("edge.protocols", "own-way")
    assert plugins.names("edge.protocols") == before
