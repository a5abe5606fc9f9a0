"""A batch that was fixed at export: freed, the model gives every sample what the original gives it alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edge.engines.onnx_runtime import create
from export.load import from_proto
from export.write import export

node = helper.make_node
D, T = 8, 5  # features, patches


def fixed_at_one(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Sequence[int]],
    sizes: Mapping[str, Any],
    shape: Sequence[int],
) -> onnx.ModelProto:
    """A classifier as an exporter writes it for one example, with random weights of the given shapes."""
    random = np.random.default_rng(0)
    tensors = {k: random.standard_normal(s).astype(np.float32) for k, s in weights.items()}
    tensors |= {k: np.asarray(v) for k, v in sizes.items()}
    graph = helper.make_graph(
        list(nodes),
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def flattened() -> onnx.ModelProto:
    """PyTorch's dynamo exporter: every Reshape has allowzero=1."""
    nodes = [node("Reshape", ["x", "s"], ["f"], allowzero=1), node("Gemm", ["f", "w", "b"], ["y"])]
    return fixed_at_one(nodes, {"w": (8, 3), "b": (3,)}, {"s": [1, 8]}, (2, 4))


def class_token() -> onnx.ModelProto:
    """A vision transformer's: a constant batch of one beside the patches."""
    nodes = [
        node("Concat", ["token", "x"], ["t"], axis=1),
        node("Add", ["t", "positions"], ["p"]),
        node("ReduceMean", ["p", "one"], ["m"], keepdims=0),
        node("Gemm", ["m", "w", "b"], ["y"]),
    ]
    weights = {"token": (1, 1, D), "positions": (1, T + 1, D), "w": (D, 3), "b": (3,)}
    return fixed_at_one(nodes, weights, {"one": [1]}, (T, D))


def expanded_token() -> onnx.ModelProto:
    """The traced exporter's: the token goes through an Expand to the size of the example."""
    model = class_token()
    model.graph.node[0].input[0] = "wide"
    sizes = [1, 1, D]
    model.graph.initializer.append(numpy_helper.from_array(np.array(sizes), "wide_sizes"))
    model.graph.node.insert(0, node("Expand", ["token", "wide_sizes"], ["wide"]))
    return model


def attention() -> onnx.ModelProto:
    """torch.nn.MultiheadAttention: time comes first, heads are merged with the batch, and time with the batch."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Reshape", ["t", "heads"], ["h"], allowzero=1),
        node("Transpose", ["h"], ["q"], perm=[1, 0, 2]),
        node("Transpose", ["h"], ["k"], perm=[1, 2, 0]),
        node("MatMul", ["q", "k"], ["scores"]),
        node("Softmax", ["scores"], ["a"], axis=-1),
        node("MatMul", ["a", "q"], ["o"]),
        node("Reshape", ["o", "four"], ["o4"], allowzero=1),
        node("Transpose", ["o4"], ["back"], perm=[2, 0, 1, 3]),
        node("Reshape", ["back", "flat"], ["rows"], allowzero=1),
        node("Gemm", ["rows", "v", "c"], ["mixed"]),
        node("Reshape", ["mixed", "three"], ["m3"], allowzero=1),
        node("Add", ["m3", "t"], ["r"]),
        node("ReduceMean", ["r", "zero"], ["m"], keepdims=0),
        node("Gemm", ["m", "w", "b"], ["y"]),
    ]
    sizes = {"heads": [T, 2, 4], "four": [1, 2, T, 4], "flat": [T, D], "three": [T, 1, D], "zero": [0]}
    return fixed_at_one(nodes, {"v": (D, D), "c": (D,), "w": (D, 3), "b": (3,)}, sizes, (T, D))


def windows() -> onnx.ModelProto:
    """A Swin transformer: windows are merged with the batch, and a mask differs from window to window."""
    nodes = [
        node("Reshape", ["x", "cut"], ["c"], allowzero=1),
        node("MatMul", ["c", "v"], ["s"]),
        node("Reshape", ["s", "apart"], ["a"], allowzero=1),
        node("Add", ["a", "mask"], ["d"]),
        node("Reshape", ["d", "whole"], ["e"], allowzero=1),
        node("Gemm", ["e", "w", "b"], ["y"]),
    ]
    sizes = {"cut": [2, 3, 4], "apart": [1, 2, 3, 4], "whole": [1, -1]}
    return fixed_at_one(nodes, {"v": (4, 4), "mask": (1, 2, 3, 4), "w": (24, 3), "b": (3,)}, sizes, (6, 4))


def initial_state() -> onnx.ModelProto:
    """A recurrent network whose initial state was folded into a constant for one sample."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "i", "r", "g", "", "h", "h"], ["", "last"], hidden_size=4),
        node("Squeeze", ["last", "zero"], ["l"]),
        node("Gemm", ["l", "w", "b"], ["y"]),
    ]
    weights = {"i": (1, 16, D), "r": (1, 16, 4), "g": (1, 32), "h": (1, 1, 4), "w": (4, 3), "b": (3,)}
    return fixed_at_one(nodes, weights, {"zero": [0]}, (T, D))


def squeezed() -> onnx.ModelProto:
    """Squeeze without axes removes the axes of size 1, but not the batch; Resize keeps it."""
    nodes = [
        node("Resize", ["x", "", "", "sizes"], ["z"], mode="nearest"),
        node("GlobalAveragePool", ["z"], ["g"]),
        node("Squeeze", ["g"], ["s"]),
        node("Reshape", ["s", "row"], ["f"], allowzero=1),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    return fixed_at_one(nodes, {"w": (4, 3), "b": (3,)}, {"sizes": [1, 4, 6, 6], "row": [1, 4]}, (4, 3, 3))


MODELS = [flattened, class_token, expanded_token, attention, windows, initial_state, squeezed]


@pytest.mark.parametrize("build", MODELS, ids=lambda f: f.__name__)
def test_every_sample_gets_what_it_gets_alone(build: Any, tmp_path: Path) -> None:
    proto = build()
    model = from_proto(proto, name="fixed", origin="fixed.onnx")
    assert "its batch, fixed at 1, was made free" in model.notes
    engine = create(export(model, tmp_path / "bundle"))
    x = np.random.default_rng(1).standard_normal((6, *model.shape)).astype(np.float32)
    alone = ReferenceEvaluator(proto)
    rows: list[Any] = [alone.run(None, {"x": row[None]}) for row in x]
    logits = np.concatenate([row[0] for row in rows])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(engine.predict(x), e / e.sum(axis=1, keepdims=True), atol=1e-5)
    batch = {"x": x, "labels": np.array([0, 1, 2, 0, 1, 2])}
    losses = [engine.step(batch, learning_rate=0.01)["loss"] for _ in range(10)]
    assert losses[-1] < losses[0]
