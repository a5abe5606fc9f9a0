"""What is done to gradients before the optimizer. Each against PyTorch in test_torch.py; here what PyTorch has not."""

from pathlib import Path

import numpy as np
import pytest

from edge.engines.onnx_runtime import create
from export import zoo
from export.errors import ExportError
from export.training.update import Update
from export.write import export


def batches(n: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [{"x": random.random((4, 6), np.float32), "labels": random.integers(0, 3, 4)} for _ in range(n)]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "momentum"])
def test_accumulated_steps_are_one_step_on_all_rows(optimizer: str, tmp_path: Path) -> None:
    model = zoo.build("mlp:5", shape=(6,), classes=3)
    parts = create(export(model, tmp_path / "a", optimizer=Update(optimizer, accumulate=True)))
    whole = create(export(model, tmp_path / "b", optimizer=optimizer))
    for _ in range(3):
        small = batches(4)
        before = parts.parameters()
        for i, batch in enumerate(small):
            assert all(np.array_equal(v, before[k]) for k, v in parts.parameters().items())
            parts.step(batch, apply=float(i == 3))
        whole.step({k: np.concatenate([b[k] for b in small]) for k in small[0]})
        for name, value in whole.parameters().items():
            np.testing.assert_allclose(parts.parameters()[name], value, atol=2e-6)


def test_a_decay_an_optimizer_has_already_is_only_a_default(tmp_path: Path) -> None:
    model = zoo.build("mlp:5", shape=(6,), classes=3)
    own = export(model, tmp_path / "a", optimizer=Update("adamw", weight_decay=0.3))
    assert own.manifest.hyper["weight_decay"] == 0.3
    assert (
        export(model, tmp_path / "b", optimizer="adamw").manifest.digests["train.onnx"]
        == (own.manifest.digests["train.onnx"])
    )


@pytest.mark.parametrize("update", [Update(clip_norm=0), Update(clip_norm=-1), Update(weight_decay=-0.1)])
def test_numbers_out_of_range(update: Update, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="must be a positive number"):
        export(zoo.build("mlp:5", shape=(6,), classes=3), tmp_path / "b", optimizer=update)
    assert not (tmp_path / "b").exists()
