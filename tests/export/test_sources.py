"""Models that other tools exported (benchmarks/exporters wrote these files): same predictions, and they train.

PyTorch 2.13's exporter and its older tracing one, skl2onnx 1.20, Keras 3 through tf2onnx 1.17.
"""

from pathlib import Path

import numpy as np
import onnxruntime as ort  # noqa: TID251 - the runtime the files are for
import pytest

from edge.engines.onnx_runtime import create
from export.load import load
from export.write import export

FILES = sorted((Path(__file__).parents[1] / "models").glob("*.onnx"))
TRAINING = "torch-traced-training"
"""exported for training: it normalizes by the batch and drops out, so its own outputs are not a prediction"""


@pytest.mark.parametrize("path", [f for f in FILES if f.stem != TRAINING], ids=lambda p: p.stem)
def test_exported_models(path: Path, tmp_path: Path) -> None:
    model = load(path)
    engine = create(export(model, tmp_path / "bundle", optimizer="adam"))
    classes = engine.bundle.manifest.classes
    random = np.random.default_rng(0)
    x, y = random.random((12, *model.shape), np.float32), np.arange(12) % classes

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    outputs = {o.name: o for o in session.get_outputs()}
    name = next(n for n, o in outputs.items() if o.type == "tensor(float)")
    values = session.run([name], {session.get_inputs()[0].name: x})[0].reshape(12, classes)
    if "was removed" in " ".join(model.notes):
        probabilities = values
    else:
        e = np.exp(values - values.max(axis=1, keepdims=True))
        probabilities = e / e.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(engine.predict(x), probabilities, atol=2e-6)

    losses = [engine.step({"x": x, "labels": y}, learning_rate=0.01)["loss"] for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0]


def test_there_are_models_of_every_tool() -> None:
    assert {p.stem.split("-")[0] for p in FILES} == {"keras", "sklearn", "torch"}


def test_a_model_exported_for_training(tmp_path: Path) -> None:
    """PyTorch's normalization and dropout in training mode: statistics move, masks are drawn, the loss falls."""
    (path,) = (f for f in FILES if f.stem == TRAINING)
    bundle = export(load(path), tmp_path / "bundle", optimizer="adam")
    assert [p.name for p in bundle.manifest.parameters if p.statistic] == ["1.running_mean", "1.running_var"]
    assert [round(n.keep, 3) for n in bundle.manifest.noise] == [0.7]
    engine = create(bundle, seed=1)
    random = np.random.default_rng(0)
    x, y = random.random((12, 1, 6, 6), np.float32), np.arange(12) % 5
    before = engine.parameters()
    losses = [engine.step({"x": x, "labels": y}, learning_rate=0.01)["loss"] for _ in range(40)]
    assert losses[-1] < 0.5 * losses[0]
    assert not np.array_equal(engine.parameters()["1.running_var"], before["1.running_var"])
    assert np.array_equal(engine.predict(x), engine.predict(x))
