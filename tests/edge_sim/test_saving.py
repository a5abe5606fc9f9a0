"""The models that an emulation leaves."""

from pathlib import Path

import numpy as np
import onnxruntime  # noqa: TID251 - as another program would load the file
import pytest

from edge import bundle as bundles
from edge import data
from edge.application import trained
from edge.errors import ConfigError
from edge_sim.run import run
from edge_sim.scenario import Scenario
from edge_sim.scenario_files import read
from export import cli as exporter


def scenario(**more: object) -> Scenario:
    values = {"devices": 2, "topology": "complete", "data": "digits", "rows": 200, "reference": "50", "rounds": 2}
    return read(None, {**values, "model": "zoo:mlp:8", **more})


def test_each_devices_model_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "models"
    result = run(scenario(), save=folder)
    ids = [device.id for device in result.devices]
    assert {path.name for path in folder.iterdir()} == {
        "bundle",
        *(f"{name}.{ending}" for name in ids for ending in ("onnx", "safetensors")),
    }
    x = data.load("digits", 0).x_test
    bundle = bundles.read(folder / "bundle")
    tables = []
    for name in ids:
        session = onnxruntime.InferenceSession(folder / f"{name}.onnx", providers=["CPUExecutionProvider"])
        tables.append(session.run(["probabilities"], {"x": x})[0])
        trained.parameters(bundle, folder / f"{name}.safetensors")
        command = ["edge-export", "trained", str(folder / "bundle"), str(folder / f"{name}.safetensors")]
        monkeypatch.setattr("sys.argv", [*command, "-o", str(tmp_path / f"{name}.onnx")])
        assert exporter.main() == 0
        again = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx", providers=["CPUExecutionProvider"])
        assert np.array_equal(again.run(["probabilities"], {"x": x})[0], tables[-1])
    assert not np.array_equal(*tables)
    with pytest.raises(ConfigError, match="it is there already"):
        run(scenario(), save=folder)
    with pytest.raises(ConfigError, match="run it without Ray"):
        run(scenario(engine="ray"), save=tmp_path / "other")
