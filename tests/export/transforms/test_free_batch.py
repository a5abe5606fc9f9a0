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
from export.errors import ExportError
from export.load import from_proto
from export.write import export

node = helper.make_node
D, T = 8, 5  # features, patches


def fixed(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Sequence[int]],
    sizes: Mapping[str, Any],
    shape: Sequence[int],
    batch: int = 1,
) -> onnx.ModelProto:
    """A classifier as an exporter writes it for one batch, with random weights of the given shapes."""
    random = np.random.default_rng(0)
    tensors = {k: random.standard_normal(s).astype(np.float32) for k, s in weights.items()}
    tensors |= {k: np.asarray(v) for k, v in sizes.items()}
    graph = helper.make_graph(
        list(nodes),
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def flattened() -> onnx.ModelProto:
    """PyTorch's dynamo exporter: every Reshape has allowzero=1."""
    nodes = [node("Reshape", ["x", "s"], ["f"], allowzero=1), node("Gemm", ["f", "w", "b"], ["y"])]
    return fixed(nodes, {"w": (8, 3), "b": (3,)}, {"s": [1, 8]}, (2, 4))


def class_token() -> onnx.ModelProto:
    """A vision transformer's: a constant batch of one beside the patches."""
    nodes = [
        node("Concat", ["token", "x"], ["t"], axis=1),
        node("Add", ["t", "positions"], ["p"]),
        node("ReduceMean", ["p", "one"], ["m"], keepdims=0),
        node("Gemm", ["m", "w", "b"], ["y"]),
    ]
    weights = {"token": (1, 1, D), "positions": (1, T + 1, D), "w": (D, 3), "b": (3,)}
    return fixed(nodes, weights, {"one": [1]}, (T, D))


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
    return fixed(nodes, {"v": (D, D), "c": (D,), "w": (D, 3), "b": (3,)}, sizes, (T, D))


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
    return fixed(nodes, {"v": (4, 4), "mask": (1, 2, 3, 4), "w": (24, 3), "b": (3,)}, sizes, (6, 4))


def initial_state() -> onnx.ModelProto:
    """A recurrent network whose initial state was folded into a constant for one sample."""
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "i", "r", "g", "", "h", "h"], ["", "last"], hidden_size=4),
        node("Squeeze", ["last", "zero"], ["l"]),
        node("Gemm", ["l", "w", "b"], ["y"]),
    ]
    weights = {"i": (1, 16, D), "r": (1, 16, 4), "g": (1, 32), "h": (1, 1, 4), "w": (4, 3), "b": (3,)}
    return fixed(nodes, weights, {"zero": [0]}, (T, D))


def squeezed() -> onnx.ModelProto:
    """Squeeze without axes removes the axes of size 1, but not the batch; Resize keeps it."""
    nodes = [
        node("Resize", ["x", "", "", "sizes"], ["z"], mode="nearest"),
        node("GlobalAveragePool", ["z"], ["g"]),
        node("Squeeze", ["g"], ["s"]),
        node("Reshape", ["s", "row"], ["f"], allowzero=1),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    return fixed(nodes, {"w": (4, 3), "b": (3,)}, {"sizes": [1, 4, 6, 6], "row": [1, 4]}, (4, 3, 3))


def token_of_two() -> onnx.ModelProto:
    """PyTorch's dynamo exporter, two images: one token goes through an Expand; another is folded, as are positions."""
    nodes = [
        node("Expand", ["token", "wide"], ["tokens"]),
        node("Concat", ["tokens", "folded", "x"], ["t"], axis=1),
        node("Add", ["positions", "t"], ["p"]),
        node("Transpose", ["p"], ["turned"], perm=[1, 0, 2]),
        node("GRU", ["turned", "i", "r", "g", "", "state"], ["", "last"], hidden_size=4),
        node("Reshape", ["last", "rows"], ["l"], allowzero=1),
        node("Gemm", ["l", "w", "b"], ["y"]),
    ]
    weights = {"token": (1, 1, D), "i": (1, 12, D), "r": (1, 12, 4), "g": (1, 24), "w": (4, 3), "b": (3,)}
    sizes = {"wide": [2, 1, D], "rows": [2, 4], "state": np.full((1, 2, 4), 0.5, np.float32)}
    rows = np.random.default_rng(2).standard_normal((1, T + 2, D)).astype(np.float32)
    sizes |= {"positions": np.repeat(rows, 2, axis=0), "folded": np.repeat(rows[:, :1], 2, axis=0)}
    return fixed(nodes, weights, sizes, (T, D), batch=2)


def windows_of_two() -> onnx.ModelProto:
    """Windows of two images, a mask that is repeated for both, and an average read through a flat view."""
    mask = np.zeros((1, 2, 3, 4), np.float32)
    mask[:, 1, 2] = -1
    nodes = [
        node("Reshape", ["x", "cut"], ["c"], allowzero=1),
        node("MatMul", ["c", "v"], ["s"]),
        node("Reshape", ["s", "apart"], ["a"], allowzero=1),
        node("Expand", ["a", "apart"], ["same"]),
        node("Add", ["same", "mask"], ["d"]),
        node("Where", ["kept", "d", "a"], ["q"]),
        node("ReduceMean", ["q", "axis"], ["m"], keepdims=1),
        node("Reshape", ["m", "all"], ["f"], allowzero=1),
        node("Gather", ["f", "order"], ["strided"], axis=0),
        node("Reshape", ["strided", "flat"], ["e"], allowzero=1),
        node("Gemm", ["e", "w", "b"], ["y"]),
    ]
    sizes = {"cut": [4, 3, 4], "apart": [2, 2, 3, 4], "all": [-1], "flat": [2, 6], "axis": [3]}
    tensors = {"mask": np.repeat(mask, 2, axis=0), "kept": np.repeat(mask > -1, 2, axis=0)}
    tensors["order"] = np.arange(12).reshape(2, 6, 1, 1)
    return fixed(nodes, {"v": (4, 4), "w": (6, 3), "b": (3,)}, sizes | tensors, (6, 4), batch=2)


def token_types_of_two() -> onnx.ModelProto:
    """A BERT's: every sequence is of type 0, so a Gather reads the same rows twice; a mask is computed for each."""
    nodes = [
        node("Expand", ["types", "each"], ["type_ids"]),
        node("Gather", ["table", "type_ids"], ["type_rows"], axis=0),
        node("Add", ["x", "type_rows"], ["e"]),
        node("Transpose", ["e"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["e", "t"], ["scores"]),
        node("Reshape", ["kept", "wide"], ["k"]),
        node("Where", ["k", "nothing", "hidden"], ["mask"]),
        node("Add", ["scores", "mask"], ["s"]),
        node("Softmax", ["s"], ["a"], axis=-1),
        node("MatMul", ["a", "e"], ["o"]),
        node("Reshape", ["o", "flat"], ["f"], allowzero=1),
        node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    sizes = {"types": np.zeros((1, T), np.int64), "each": [2, T], "wide": [2, T, T], "flat": [2, T * D]}
    hidden = {"nothing": np.float32(0), "hidden": np.float32(-1e9)}
    kept = np.repeat(np.tril(np.ones((1, T, T), bool)), 2, axis=0)
    return fixed(nodes, {"table": (2, D), "w": (T * D, 3), "b": (3,)}, sizes | hidden | {"kept": kept}, (T, D), batch=2)


def counted_states_of_two() -> onnx.ModelProto:
    """The traced exporter's LSTM of two samples: states of two samples, stretched over as many as the input has."""
    state = numpy_helper.from_array(np.full((1, 2, 4), 0.5, np.float32))
    nodes = [
        node("Constant", [], ["state"], value=state),
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Shape", ["t"], ["shape"]),
        node("Gather", ["shape", "one"], ["samples"], axis=0),
        node("Unsqueeze", ["samples", "zero"], ["n"]),
        node("Concat", ["first", "n", "last"], ["target"], axis=0),
        node("Expand", ["state", "target"], ["h"]),
        node("Expand", ["state", "target"], ["c"]),
        node("LSTM", ["t", "i", "r", "g", "", "h", "c"], ["", "y_h"], hidden_size=4),
        node("Squeeze", ["y_h", "zero"], ["l"]),
        node("Gemm", ["l", "w", "b"], ["y"]),
    ]
    weights = {"i": (1, 16, D), "r": (1, 16, 4), "g": (1, 32), "w": (4, 3), "b": (3,)}
    return fixed(nodes, weights, {"one": 1, "zero": [0], "first": [1], "last": [4]}, (T, D), batch=2)


OF_ONE = [flattened, class_token, expanded_token, attention, windows, initial_state, squeezed]
OF_TWO = [token_of_two, windows_of_two, token_types_of_two, counted_states_of_two]


@pytest.mark.parametrize("build", [*OF_ONE, *OF_TWO], ids=lambda f: f.__name__)
def test_every_sample_gets_what_it_gets_alone(build: Any, tmp_path: Path) -> None:
    proto = build()
    model = from_proto(proto, name="fixed", origin="fixed.onnx")
    batch = 2 if build in OF_TWO else 1
    assert f"its batch, fixed at {batch}, was made free" in model.notes
    engine = create(export(model, tmp_path / "bundle"))
    x = np.random.default_rng(1).standard_normal((6, *model.shape)).astype(np.float32)
    alone = ReferenceEvaluator(proto)
    rows: list[Any] = [alone.run(None, {"x": rows}) for rows in np.split(x, 6 // batch)]
    logits = np.concatenate([row[0] for row in rows])
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(engine.predict(x), e / e.sum(axis=1, keepdims=True), atol=1e-5)
    samples = {"x": x, "labels": np.array([0, 1, 2, 0, 1, 2])}
    losses = [engine.step(samples, learning_rate=0.01)["loss"] for _ in range(10)]
    assert losses[-1] < losses[0]


def test_what_differs_from_sample_to_sample_stays_fixed(tmp_path: Path) -> None:
    """A constant that is not the same for both images cannot be meant for a third."""
    proto = token_of_two()
    positions = next(i for i in proto.graph.initializer if i.name == "positions")
    value = numpy_helper.to_array(positions) + np.arange(2, dtype=np.float32).reshape(2, 1, 1)
    positions.CopyFrom(numpy_helper.from_array(value, "positions"))
    with pytest.raises(ExportError):
        export(from_proto(proto, name="fixed", origin="fixed.onnx"), tmp_path / "bundle")


def test_a_token_that_was_folded_for_every_sample_is_one_parameter() -> None:
    model = from_proto(token_of_two(), name="fixed", origin="fixed.onnx")
    assert model.parameters["folded"].shape == (1, 1, D)
