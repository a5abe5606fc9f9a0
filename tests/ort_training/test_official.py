"""The official on-device-training artifacts: trained by the official API, they follow our graph.

Run in an environment where onnxruntime-training-cpu stands in for onnxruntime (`make ort-training`): the same
library then executes both, the official artifacts and ours.
"""

from pathlib import Path

import numpy as np
import pytest

from edge import bundle as bundles
from edge.engines import onnx_runtime, ort_training
from edge.errors import EngineError
from edge.interfaces import Array
from export import cli, ort_artifacts, zoo
from export.errors import ExportError
from export.transforms.batch_norm import select
from export.write import export

MODELS = {
    "mlp:32": (1, 28, 28),
    "small-cnn": (1, 28, 28),
    "lenet": (1, 28, 28),
    "tcn": (9, 64),
    "tiny-transformer": (9, 64),
    "ds-cnn": (1, 49, 10),
}


def exported(spec: str, optimizer: str, folder: Path) -> bundles.Bundle:
    model = select(zoo.build(spec, shape=MODELS[spec], classes=5, seed=1), "frozen")
    return bundles.read(export(model, folder / "bundle", optimizer=optimizer, official=True).path)


@pytest.mark.parametrize("spec", MODELS)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fifty_steps(spec: str, optimizer: str, tmp_path: Path) -> None:
    """Losses equal to 1e-4 at a low rate (long trajectories of two correct implementations drift apart)."""
    bundle = exported(spec, optimizer, tmp_path)
    ours, theirs = onnx_runtime.create(bundle), ort_training.create(bundle)
    rate = {"sgd": 0.01, "adamw": 0.00003}[optimizer]
    random = np.random.default_rng(0)
    worst = 0.0
    for _ in range(50):
        batch: dict[str, Array] = {
            "x": random.random((16, *bundle.manifest.shape), np.float32),
            "labels": random.integers(0, 5, 16),
        }
        a, b = (engine.step(batch, learning_rate=rate) for engine in (ours, theirs))
        assert a.keys() == b.keys()
        worst = max(worst, abs(a["loss"] - b["loss"]))
    print(f"{spec} {optimizer}: largest difference of the loss over 50 steps {worst:.1e}")
    assert worst < 1e-4


def test_what_is_fixed_in_the_artifacts(tmp_path: Path) -> None:
    bundle = exported("mlp:32", "adamw", tmp_path)
    engine = ort_training.create(bundle)
    batch: dict[str, Array] = {"x": np.zeros((2, 1, 28, 28), np.float32), "labels": np.zeros(2, np.int64)}
    with pytest.raises(EngineError, match=r"'beta1' is fixed at 0\.9 .* it was given 0\.5"):
        engine.step(batch, beta1=0.5)
    engine.step(batch, beta1=0.9)


def test_a_bundle_without_artifacts(tmp_path: Path) -> None:
    model = zoo.build("mlp:8", shape=(4,), classes=3)
    with pytest.raises(EngineError, match="export it again with --ort-training"):
        ort_training.create(export(model, tmp_path / "b"))


def test_frozen_parameters_stay(tmp_path: Path) -> None:
    from export.transforms.trainable import select as train_only

    model = train_only(zoo.build("mlp:8", shape=(4,), classes=3), "last:1")
    files = ort_artifacts.build(model, "cross_entropy", "sgd")
    assert set(files) == {f"ort_training/{n}" for n in FILES}


FILES = ("checkpoint", "eval_model.onnx", "optimizer_model.onnx", "training_model.onnx")


def test_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["edge-export", "zoo:mlp:8", "-o", str(tmp_path / "b"), "--ort-training", "--json"])
    assert cli.main() == 0
    assert sorted(f.name for f in (tmp_path / "b" / "ort_training").iterdir()) == list(FILES)
    assert "ort_training/checkpoint" in bundles.read(tmp_path / "b").manifest.digests


def test_what_the_official_gradient_does_not_know() -> None:
    model = zoo.build("ds-cnn", shape=(1, 49, 10), classes=3)
    with pytest.raises(ExportError, match="--batch-norm frozen"):
        ort_artifacts.build(model, "cross_entropy", "sgd")
    with pytest.raises(ExportError, match="knows the optimizers sgd, adamw, not adam"):
        ort_artifacts.build(select(model, "frozen"), "cross_entropy", "adam")
