"""Language models from token ids, written by hand as PyTorch's exporter writes them; ids come as float32."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge.engines.onnx_runtime import create
from edge.errors import EngineError
from export.load import from_proto
from export.write import export

node = helper.make_node
WORDS, T, D, CLASSES, ROWS = 7, 4, 6, 3, 5


def attention(causal: bool) -> list[onnx.NodeProto]:
    """One block: embedding, positions, LayerNorm, attention with a mask or without, a residual, the last token."""
    return [
        node("Cast", ["x"], ["ids"], to=TensorProto.INT64),
        node("Gather", ["words", "ids"], ["e"]),
        node("Add", ["e", "positions"], ["p"]),
        node("LayerNormalization", ["p", "scale", "shift"], ["n"]),
        node("MatMul", ["n", "query"], ["q"]),
        node("MatMul", ["n", "key"], ["k"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["raw"]),
        *([node("Add", ["raw", "causal"], ["masked"])] if causal else []),
        node("Softmax", ["masked" if causal else "raw"], ["a"], axis=-1),
        node("MatMul", ["a", "n"], ["mixed"]),
        node("Add", ["mixed", "p"], ["r"]),
        node("ReduceMean", ["r", "time"], ["m"], keepdims=0),
        node("Gemm", ["m", "head", "bias"], ["y"]),
    ]


def weights(causal: bool) -> dict[str, Any]:
    random = np.random.default_rng(0)
    shapes = {"words": (WORDS, D), "positions": (T, D), "query": (D, D), "key": (D, D), "head": (D, CLASSES)}
    tensors: dict[str, Any] = {k: random.standard_normal(s) for k, s in shapes.items()}
    tensors |= {"scale": 1 + 0.1 * random.standard_normal(D), "shift": random.standard_normal(D)}
    tensors |= {"bias": random.standard_normal(CLASSES), "time": np.array([1])}
    return tensors | ({"causal": np.triu(np.full((T, T), -np.inf), 1)} if causal else {})


def proto_of(causal: bool, tensors: dict[str, Any], dtype: Any = np.float32) -> onnx.ModelProto:
    element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    graph = helper.make_graph(
        attention(causal),
        "tokens",
        [helper.make_tensor_value_info("x", element, ["N", T])],
        [helper.make_tensor_value_info("y", element, ["N", CLASSES])],
        [numpy_helper.from_array(v.astype(dtype) if v.dtype.kind == "f" else v, k) for k, v in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def engine_of(causal: bool, folder: Path) -> Any:
    model = from_proto(proto_of(causal, weights(causal)), name="tokens", origin="tokens.onnx")
    return create(export(model, folder / "bundle"))


def batch() -> dict[str, Any]:
    x = np.random.default_rng(1).integers(0, WORDS, (ROWS, T))
    return {"x": x.astype(np.float32), "labels": np.arange(ROWS) % CLASSES}


def loss(causal: bool, tensors: dict[str, Any]) -> float:
    rows = batch()
    results: Any = ReferenceEvaluator(proto_of(causal, tensors, np.float64)).run(None, {"x": rows["x"].astype(float)})
    z = results[0] - results[0].max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(ROWS), rows["labels"]]))


@pytest.mark.parametrize("causal", [False, True], ids=["bert", "gpt"])
def test_gradients_are_central_differences(causal: bool, tmp_path: Path) -> None:
    engine, tensors, random = engine_of(causal, tmp_path), weights(causal), np.random.default_rng(2)
    before = engine.parameters()
    losses = [engine.step(batch(), learning_rate=1.0)["loss"]]
    after = engine.parameters()
    for name in before:
        direction = random.standard_normal(before[name].shape)
        ends = [loss(causal, tensors | {name: tensors[name] + h * direction}) for h in (1e-5, -1e-5)]
        slope = float(np.vdot(before[name].astype(np.float64) - after[name], direction))
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=2e-3, atol=2e-5, err_msg=name)
    losses += [engine.step(batch(), learning_rate=0.1)["loss"] for _ in range(2)]
    assert np.isfinite(losses).all()


def test_a_model_with_an_infinite_mask_is_resumed(tmp_path: Path) -> None:
    engine = engine_of(True, tmp_path)
    engine.step(batch(), learning_rate=0.1)
    kept = engine.state()
    following = engine.step(batch(), learning_rate=0.1)
    engine.load_state(kept)
    assert engine.step(batch(), learning_rate=0.1) == following


@pytest.mark.parametrize("token", [WORDS, -1, -WORDS - 1])
def test_a_token_that_is_not_in_the_vocabulary_is_refused(token: int, tmp_path: Path) -> None:
    engine, rows = engine_of(False, tmp_path), batch()
    before = engine.parameters()
    rows["x"][2, 1] = token
    reason = rf"'x': token numbers must be 0 to {WORDS - 1}; they go from"
    with pytest.raises(EngineError, match=reason):
        engine.step(rows, learning_rate=0.1)
    with pytest.raises(EngineError, match=reason):
        engine.predict(rows["x"])
    assert all((engine.parameters()[name] == value).all() for name, value in before.items())
    assert np.isfinite(engine.step(batch(), learning_rate=0.1)["loss"])


def indexed(op_type: str, computed: list[onnx.NodeProto], folder: Path) -> Any:
    """Rows of a table at places that the model computes from x (N, 2)."""
    nodes = [*computed, node(op_type, ["words", "places"], ["e"]), node("Flatten", ["e"], ["f"])]
    nodes.append(node("MatMul", ["f", "head"], ["y"]))
    width = 2 * D if op_type == "Gather" else D if op_type == "GatherND" else 2
    tensors = {"words": np.ones((WORDS, D)), "head": np.ones((width, CLASSES))}
    tensors |= {"five": np.array(5.0), "deep": np.array([2])}
    graph = helper.make_graph(
        nodes,
        "indexed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        [numpy_helper.from_array(v.astype(np.float32) if v.dtype.kind == "f" else v, k) for k, v in tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return create(export(from_proto(proto, name="indexed", origin="indexed.onnx"), folder / "bundle"))


@pytest.mark.parametrize("op_type", ["Gather", "GatherElements"])
@pytest.mark.parametrize("kind", [TensorProto.INT32, TensorProto.INT64])
def test_a_computed_index_does_not_wrap(op_type: str, kind: int, tmp_path: Path) -> None:
    computed = [
        node("Mul", ["x", "five"], ["m"]),
        node("Cast", ["m"], ["c"], to=kind),
        node("Identity", ["c"], ["places"]),
    ]
    engine = indexed(op_type, computed, tmp_path)
    rows: dict[str, Any] = {"x": np.full((3, 2), 0.5, np.float32), "labels": np.arange(3)}
    assert np.isfinite(engine.step(rows, learning_rate=0.1)["loss"])
    before = engine.parameters()
    for wrong in (-0.3, 2.0):
        rows["x"][1, 1] = wrong
        with pytest.raises(EngineError, match=r"could not be executed on this batch.*[oO]ut of"):
            engine.step(rows, learning_rate=0.1)
        with pytest.raises(EngineError, match=r"could not be executed on this batch.*[oO]ut of"):
            engine.predict(rows["x"])
    assert all((engine.parameters()[name] == value).all() for name, value in before.items())


def test_integers_count_from_the_end_where_the_model_says_so(tmp_path: Path) -> None:
    """An index that is computed as an integer may be negative: that is ONNX."""
    computed = [
        node("ArgMax", ["x"], ["best"], axis=1, keepdims=1),
        node("Sub", ["best", "deep"], ["back"]),
        node("Concat", ["back", "back"], ["places"], axis=1),
    ]
    engine = indexed("GatherElements", computed, tmp_path)
    assert np.isfinite(engine.step({"x": np.ones((3, 2), np.float32), "labels": np.arange(3)})["loss"])
