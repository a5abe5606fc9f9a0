"""Dropout: the mask is an input that the engine draws, so that a run can be repeated bit for bit."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.bundle import Bundle
from edge.engines import _checks as check
from edge.engines.onnx_runtime import create
from export.model import from_proto
from export.write import export

RATIO = 0.25


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Linear, dropout in training mode, linear."""
    random = np.random.default_rng(0)
    tensors = {
        "w1": random.standard_normal((4, 50)).astype(np.float32),
        "w2": random.standard_normal((50, 3)).astype(np.float32),
        "ratio": np.array(RATIO, np.float32),
        "training": np.array(True),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Dropout", ["h", "ratio", "training"], ["d"], name="drop"),
            helper.make_node("MatMul", ["d", "w2"], ["y"]),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model = from_proto(proto, name="test", origin="test.onnx")
    return export(model, tmp_path / "b", objective="cross_entropy + squared_error(reference)")


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
