"""Running statistics: measured while training, used afterwards, frozen on request."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines.onnx_runtime import create
from edge.errors import EngineError
from edge.interfaces import Array
from export import zoo
from export.errors import ExportError
from export.load import from_proto
from export.model import Model
from export.transforms.batch_norm import select
from export.transforms.trainable import select as train_only
from export.write import export

SHAPE = (1, 49, 10)


def model() -> Model:
    return zoo.build("ds-cnn:8", shape=SHAPE, classes=4)


def batch(rows: int = 8, seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {"x": random.standard_normal((rows, *SHAPE)).astype(np.float32), "labels": random.integers(0, 4, rows)}


def test_running_statistics_follow_the_batches_as_the_specification_says(tmp_path: Path) -> None:
    engine = create(export(model(), tmp_path / "b"))
    before = engine.parameters()
    x = batch()["x"].astype(np.float64)
    engine.step(batch())
    # The stem's convolution, by its definition.
    W = before["stem.conv.weight"].astype(np.float64)
    padded = np.pad(x, [(0, 0), (0, 0), (4, 5), (1, 1)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (10, 4), axis=(2, 3))[:, :, ::2, ::2]
    y = np.einsum("nchwij,mcij->nmhw", windows, W)
    after = engine.parameters()
    np.testing.assert_allclose(after["stem.norm.mean"], 0.1 * y.mean(axis=(0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(after["stem.norm.variance"], 0.9 + 0.1 * y.var(axis=(0, 2, 3)), rtol=1e-5)


def test_prediction_uses_the_running_statistics(tmp_path: Path) -> None:
    engine = create(export(model(), tmp_path / "b"))
    for seed in range(30):
        engine.step(batch(32, seed))
    whole = engine.predict(batch(16, 99)["x"])
    alone = np.concatenate([engine.predict(row[None]) for row in batch(16, 99)["x"]])
    np.testing.assert_allclose(whole, alone, atol=1e-5)


def test_frozen_statistics_do_not_move(tmp_path: Path) -> None:
    frozen = select(model(), "frozen")
    bundle = export(frozen, tmp_path / "b")
    assert not any(p.statistic or "mean" in p.name for p in bundle.manifest.parameters)
    engine = create(bundle)
    losses = [engine.step(batch())["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]


def test_and_back_again() -> None:
    there = select(select(model(), "frozen"), "train")
    assert there.statistics == model().statistics
    assert there.parameters.keys() == model().parameters.keys()


def test_statistics_are_told_from_what_is_trained_and_what_is_frozen(tmp_path: Path) -> None:
    table = {p.name: p for p in export(model(), tmp_path / "b").manifest.parameters}
    assert (table["stem.norm.mean"].trainable, table["stem.norm.mean"].statistic) == (False, True)
    assert (table["stem.norm.scale"].trainable, table["stem.norm.scale"].statistic) == (True, False)


def test_normalizations_nobody_trains_keep_their_statistics() -> None:
    chosen = train_only(model(), "block4.*")
    assert chosen.statistics == {f"block4.norm{i}.{k}" for i in (1, 2) for k in ("mean", "variance")}


def test_unknown_mode() -> None:
    with pytest.raises(ExportError, match="expected one of as-is, train, frozen"):
        select(model(), "thaw")


def test_a_step_leaves_the_parameters_it_was_given_as_they_were(tmp_path: Path) -> None:
    """The runtime's normalization writes over its running statistics; it must not be ours."""
    import onnxruntime as ort  # noqa: TID251

    bundle = export(model(), tmp_path / "b")
    session = ort.InferenceSession(str(bundle.path / "train.onnx"), providers=["CPUExecutionProvider"])
    given = {f"parameter/{k}": v.copy() for k, v in bundle.parameters().items()}
    hyper = {k: np.array(v, np.float32) for k, v in bundle.manifest.hyper.items()}
    first = session.run(None, {**given, **hyper, **batch()})
    assert all(np.array_equal(given[f"parameter/{k}"], v) for k, v in bundle.parameters().items())
    second = session.run(None, {**given, **hyper, **batch()})
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_one_normalization_applied_twice(tmp_path: Path) -> None:
    """Its statistics move twice a step, and neither node's mean is the other's (the runtime writes over inputs)."""
    random = np.random.default_rng(0)
    w1, w2 = (random.standard_normal(s).astype(np.float32) for s in ((4, 5), (5, 3)))
    values = {"w1": w1, "w2": w2, "scale": np.ones(5), "bias": np.zeros(5), "mean": np.zeros(5), "variance": np.ones(5)}
    statistics = ["scale", "bias", "mean", "variance"]
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["a"]),
            helper.make_node("BatchNormalization", ["a", *statistics], ["b"], training_mode=1),
            helper.make_node("Exp", ["b"], ["c"]),
            helper.make_node("BatchNormalization", ["c", *statistics], ["d"], training_mode=1),
            helper.make_node("MatMul", ["d", "w2"], ["y"]),
        ],
        "twice",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in values.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    shared = from_proto(proto, name="twice", origin="twice.onnx", keep_ties=True)
    engine = create(export(shared, tmp_path / "b"))
    x, y = random.standard_normal((6, 4)).astype(np.float32), random.integers(0, 3, 6)
    engine.step({"x": x, "labels": y}, learning_rate=0.0)
    a = x @ w1
    c = np.exp((a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + 1e-5))
    after = engine.parameters()
    np.testing.assert_allclose(after["mean"], 0.9 * 0.1 * a.mean(axis=0) + 0.1 * c.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(after["variance"], 0.9 * (0.9 + 0.1 * a.var(axis=0)) + 0.1 * c.var(axis=0), rtol=1e-4)


def test_nothing_to_normalize_by_the_batch_is_refused() -> None:
    with pytest.raises(ExportError, match="has no batch normalization; if it had, its exporter folded it"):
        select(zoo.build("mlp:4", shape=(3,), classes=2), "train")


def test_one_value_a_channel_is_refused(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["h"], training_mode=1),
            helper.make_node("Gemm", ["h", "w"], ["y"]),
        ],
        "flat",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])],
        [
            numpy_helper.from_array(np.full(shape, fill, np.float32), name)
            for name, shape, fill in (("s", 3, 1), ("b", 3, 0), ("m", 3, 0), ("v", 3, 1), ("w", (3, 2), 0.5))
        ],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    flat = from_proto(proto, name="flat", origin="flat.onnx")
    engine, frozen = create(export(flat, tmp_path / "b")), create(export(select(flat, "frozen"), tmp_path / "f"))
    one: dict[str, Array] = {"x": np.ones((1, 3), np.float32), "labels": np.zeros(1, np.int64)}
    two: dict[str, Array] = {"x": np.eye(3, dtype=np.float32)[:2], "labels": np.zeros(2, np.int64)}
    before = engine.parameters()
    with pytest.raises(EngineError, match=r"one value a channel there, .* with --batch-norm frozen"):
        engine.step(one)
    assert all(np.array_equal(before[k], v) for k, v in engine.parameters().items())
    assert "loss" in engine.step(two)
    assert "loss" in frozen.step(one)
    assert "least_rows" not in (tmp_path / "f" / "manifest.json").read_text()
