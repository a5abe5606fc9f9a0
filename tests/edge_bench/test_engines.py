"""edge-bench engines: its arithmetic, its table, its refusals, and PyTorch doing the same job."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from edge.engines import onnx_runtime, random_batch
from edge.engines._probe import RATE, STEPS
from edge.errors import ConfigError
from edge_bench.commands.engines import sections
from edge_bench.measurements import engines
from edge_report import document, finding
from export import zoo
from export.write import export


def lines() -> list[engines.EngineRow]:
    def line(name: str, size: int, steps: list[float]) -> engines.EngineRow:
        return engines.EngineRow(
            name=name,
            versions={name: "1"},
            installed_bytes=size,
            step_seconds=steps,
            first_step_seconds=[1.0] * len(steps),
            peak_bytes=[1e8] * len(steps),
            loss=0.5,
        )

    return [line("tflite", 10, [0.002, 0.001, 0.009]), line("pytorch", 40, [0.004, 0.004, 0.001])]


def test_engines_are_compared_by_medians() -> None:
    comparison = engines.Engines(
        environment=finding.environment(), model="m", batch=2, rounds=3, lines=lines(), left_out={"ort-training": "old"}
    )
    assert comparison.ratio(comparison.lines[0], "step_seconds") == 0.5
    assert comparison.ratio(comparison.lines[0], "installed_bytes") == 0.25
    console = Console(record=True, width=120, file=io.StringIO())
    document.show(console, sections(comparison))
    text = console.export_text()
    assert "2 ms" in text
    assert "0.500" in text
    assert "Left out: ort-training (old)." in text
    alone = comparison.model_copy(update={"lines": lines()[:1]})
    assert alone.ratio(alone.lines[0], "step_seconds") is None
    document.show(console, sections(alone))
    assert "share" not in console.export_text()


def test_an_engine_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown engine 'caffe'; there are: onnx-runtime, tflite,"):
        engines.measure(tmp_path, names=["caffe"])
    assert not list(tmp_path.iterdir())


def test_an_environment_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.CONTENDERS, "tflite", engines.CleanEnvironment("no-such-extra[", ("x",), "tflite"))
    with pytest.raises(ConfigError, match=r"tflite: .* failed: "):
        engines.measure(tmp_path, names=["tflite"], rounds=1)
    assert not (tmp_path / "tflite" / "installed_bytes").exists()


@pytest.mark.oracle
def test_the_reference_does_the_same_job(tmp_path: Path) -> None:
    """PyTorch's worker and our engine: the same loss after so many steps."""
    bundle = export(zoo.build(engines.MODEL, shape=engines.SHAPE, classes=10), tmp_path / "b")
    batch = random_batch(bundle, 8)
    np.savez(tmp_path / "job.npz", **batch, **bundle.parameters())  # type: ignore[arg-type]
    worker = Path(engines.__file__).with_name("torch_worker.py")
    command = [sys.executable, str(worker), str(tmp_path / "job.npz"), "0.01"]
    theirs = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    engine = onnx_runtime.create(bundle)
    ours = [engine.step(batch, learning_rate=RATE)["loss"] for _ in range(STEPS)]
    assert theirs["loss"] == pytest.approx(ours[-1], abs=1e-5)
    probe = [sys.executable, "-m", "edge.engines._probe", "onnx-runtime", str(bundle.path), "8", "0.01"]
    probed = json.loads(subprocess.run(probe, check=True, capture_output=True, text=True).stdout)
    assert probed.keys() == theirs.keys()
    assert probed["loss"] == ours[-1]
    assert min(probed["step_seconds"], probed["first_step_seconds"], probed["peak_bytes"] - 1e7) > 0
