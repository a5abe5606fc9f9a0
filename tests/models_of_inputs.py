"""Small ONNX models of inputs that are not one float array."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

TOKENS, WIDTH, LENGTH, CLASSES = 11, 6, 5, 3


def embedding_classifier(folder: Path, dtype: int = TensorProto.INT64) -> Path:
    """Token numbers (batch, LENGTH) -> the mean of their embeddings -> logits."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], name="embedding"),
        helper.make_node("ReduceMean", ["embedded", "one"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["y"], name="output"),
    ]
    return _saved(folder / "tokens.onnx", nodes, [helper.make_tensor_value_info("ids", dtype, ["batch", LENGTH])])


def two_inputs(folder: Path) -> Path:
    """Token numbers and a mask (batch, LENGTH) of those that count."""
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["embedded"], name="embedding"),
        helper.make_node("Unsqueeze", ["mask", "two"], ["wide"]),
        helper.make_node("Mul", ["embedded", "wide"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "one"], ["sum"], keepdims=0),
        helper.make_node("Gemm", ["sum", "w", "b"], ["y"], name="output"),
    ]
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", LENGTH])
    mask = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch", LENGTH])
    return _saved(folder / "two.onnx", nodes, [ids, mask])


def _saved(path: Path, nodes: list[onnx.NodeProto], inputs: list[onnx.ValueInfoProto]) -> Path:
    random = np.random.default_rng(0)
    tensors = {
        "table": random.normal(size=(TOKENS, WIDTH)).astype(np.float32),
        "w": random.normal(size=(WIDTH, CLASSES)).astype(np.float32),
        "b": np.zeros(CLASSES, np.float32),
        "one": np.array([1]),
        "two": np.array([2]),
    }
    read = {x for node in nodes for x in node.input}
    graph = helper.make_graph(
        nodes,
        path.stem,
        inputs,
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", CLASSES])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items() if k in read],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path
