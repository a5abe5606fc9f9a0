"""Forms of a model's outputs: what is squeezed, turned or taken for another task, and batches to try them with."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines._batch import random_batch
from edge.engines.onnx_runtime import create
from export.load import load
from export.transforms.outputs import meant, named
from export.write import export

CASES = [
    # kernel, pooled, transposed, K given -> task, logits of a sample
    ("(N,K,1,1)", (3, 2, 1, 1), True, False, None, "classification", (3,)),
    ("(N,K,H,W)", (3, 2, 1, 1), False, False, None, "per-position", (3, 4, 4)),
    ("(N,T,K)", (3, 2, 1, 4), False, True, 3, "per-position", (3, 4)),
    ("(N,1)", (1, 2, 1, 1), True, False, None, "regression", (1,)),
]


def convolution(folder: Path, kernel: tuple[int, ...], *, pooled: bool, transposed: bool) -> Path:
    """Samples (2, 4, 4) through one convolution and what follows it."""
    nodes, last = [helper.make_node("Conv", ["x", "w"], ["conv"])], "conv"
    if pooled:
        nodes, last = [*nodes, helper.make_node("GlobalAveragePool", [last], ["pooled"])], "pooled"
    if transposed:
        nodes += [
            helper.make_node("Squeeze", [last, "three"], ["flat"]),
            helper.make_node("Transpose", ["flat"], ["turned"], perm=[0, 2, 1]),
        ]
        last = "turned"
    w = np.random.default_rng(0).normal(size=kernel).astype(np.float32)
    tensors = {"w": w} | ({"three": np.array([3])} if transposed else {})
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 4, 4])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, ["N", *"abc"[: 2 if transposed else 3]])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    path = folder / "convolution.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


@pytest.mark.parametrize(
    ("kernel", "pooled", "transposed", "classes", "task", "logits"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_forms_of_outputs(
    kernel: tuple[int, ...],
    pooled: bool,
    transposed: bool,
    classes: int | None,
    task: str,
    logits: tuple[int, ...],
    tmp_path: Path,
) -> None:
    model = load(convolution(tmp_path, kernel, pooled=pooled, transposed=transposed))
    model, objective = meant(model, "isolated", classes=classes)
    bundle = export(model, tmp_path / "bundle", objective=objective)
    assert (bundle.manifest.task, bundle.manifest.classes) == (task, logits[0])
    engine, batch = create(bundle), random_batch(bundle, 5)
    assert engine.outputs(batch["x"], "logits")[0].shape == (5, *logits)
    losses = [engine.step(batch, learning_rate=0.05)["loss"] for _ in range(10)]
    assert losses[-1] < losses[0]


def test_an_image_is_a_regression_of_its_pixels_and_keeps_its_sigmoid(tmp_path: Path) -> None:
    path = convolution(tmp_path, (3, 2, 1, 1), pooled=False, transposed=False)
    proto = onnx.load(path)
    proto.graph.node.append(helper.make_node("Sigmoid", ["conv"], ["pixels"]))
    proto.graph.output[0].name = "pixels"
    onnx.save(proto, path)
    known = named("mean_squared_error", None)
    model, objective = meant(load(path, task=known.name if known else None), "mean_squared_error")
    assert model.notes == ("its logits (N, 3, 4, 4) became (N, 48)",)
    engine = create(export(model, tmp_path / "bundle", objective=objective))
    x = np.random.default_rng(0).random((5, 2, 4, 4), np.float32)
    w = numpy_helper.to_array(proto.graph.initializer[0]).reshape(3, 2)
    pixels = 1 / (1 + np.exp(-np.einsum("kc,nchw->nkhw", w, x)))
    np.testing.assert_allclose(engine.outputs(x, "logits")[0], pixels.reshape(5, 48), atol=1e-6)
    labels = np.zeros((5, 48), np.float32)
    assert engine.step({"x": x, "labels": labels}, learning_rate=0.1)["loss"] == pytest.approx((pixels**2).mean())


def test_a_random_batch_has_a_distribution_at_each_position(tmp_path: Path) -> None:
    model = load(convolution(tmp_path, (3, 2, 1, 1), pooled=False, transposed=False))
    model, _ = meant(model, "isolated")
    objective = "position_cross_entropy + 1.0*squared_error(reference)"
    batch = random_batch(export(model, tmp_path / "bundle", objective=objective), 4, 6)
    assert batch["labels"].shape == (4, 4, 4)
    assert batch["labels"].max() == 2
    assert batch["reference_target"].shape == (6, 3, 4, 4)
    np.testing.assert_allclose(batch["reference_target"].sum(axis=1), 1, rtol=1e-5)
