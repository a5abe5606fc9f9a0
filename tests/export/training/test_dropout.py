"""Dropout: the mask is an input that the engine draws, so that a run can be repeated bit for bit."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.bundle import Bundle
from edge.engines import _checks as check
from edge.engines.onnx_runtime import create
from export.write import export
from tests.export.training import dropout_model


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return export(dropout_model.build(), tmp_path / "b", objective="cross_entropy + squared_error(reference)")


def batch() -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    x, r, q = (random.standard_normal(s).astype(np.float32) for s in ((8, 4), (5, 4), (5, 3)))
    return {"x": x, "labels": random.integers(0, 3, 8), "reference_x": r, "reference_target": q}


def test_the_manifest_says_what_to_draw(bundle: Bundle) -> None:
    (noise,) = bundle.manifest.noise
    assert (noise.name, noise.shape, noise.keep) == ("noise/drop", (50,), 0.75)
    train = onnx.load(bundle.path / "train.onnx")
    assert "noise/drop" in [i.name for i in train.graph.input]
    assert not any(n.op_type in ("Dropout", "RandomUniform") for n in train.graph.node)


def test_a_seed_repeats_a_run_and_a_checkpoint_continues_it(bundle: Bundle) -> None:
    one, same, other = create(bundle, seed=1), create(bundle, seed=1), create(bundle, seed=2)
    losses = [one.step(batch(), learning_rate=0.01)["loss"] for _ in range(6)]
    assert losses[:3] == [same.step(batch(), learning_rate=0.01)["loss"] for _ in range(3)]
    resumed = create(bundle, seed=1)
    resumed.load_state(same.state())
    assert losses[3:] == [resumed.step(batch(), learning_rate=0.01)["loss"] for _ in range(3)]
    assert losses != [other.step(batch(), learning_rate=0.01)["loss"] for _ in range(6)]


def test_masks_keep_the_asked_share_and_the_mean(bundle: Bundle) -> None:
    masks = [check.masks(bundle.manifest, batch(), 3, step)["noise/drop"] for step in range(40)]
    drawn = np.stack(masks)
    assert drawn.shape == (40, 13, 50)
    assert set(np.unique(drawn)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs(drawn.mean() - 1) < 0.02
    assert len({m.tobytes() for m in masks}) == 40


def test_prediction_drops_nothing(bundle: Bundle) -> None:
    engine = create(bundle, seed=4)
    assert np.array_equal(engine.predict(batch()["x"]), engine.predict(batch()["x"]))
