"""Models for the training artifacts, which need no framework, and what both families of artifacts are compared by."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edge.interfaces import Array

PARAMETERS = ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]
LAST, FIRST = PARAMETERS[2:], PARAMETERS[:2]


def mlp(features: int = 12, hidden: int = 8, classes: int = 4, opset: int = 14) -> onnx.ModelProto:
    """x -> Linear -> Relu -> Linear -> output-0, all sizes of its inputs free, as PyTorch's exporter writes it."""
    random = np.random.default_rng(3)

    def initializer(name: str, *shape: int) -> onnx.TensorProto:
        value = random.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)
        return numpy_helper.from_array(value, name)

    nodes = [
        helper.make_node("Gemm", ["input-0", "fc1.weight", "fc1.bias"], ["hidden"], name="/fc1/Gemm", transB=1),
        helper.make_node("Relu", ["hidden"], ["active"], name="/relu/Relu"),
        helper.make_node("Gemm", ["active", "fc2.weight", "fc2.bias"], ["output-0"], name="/fc2/Gemm", transB=1),
    ]
    weights = [
        initializer("fc1.weight", hidden, features),
        initializer("fc1.bias", hidden),
        initializer("fc2.weight", classes, hidden),
        initializer("fc2.bias", classes),
    ]
    return model(nodes, {"input-0": ["input-0_dim0", "input-0_dim1"]}, ["output-0"], weights, opset)


def model(
    nodes: list[onnx.NodeProto],
    inputs: dict[str, list[Any]],
    outputs: list[str],
    weights: list[onnx.TensorProto],
    opset: int = 18,
    element: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A checked model; the shapes of its outputs are left to inference."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(name, element, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", "columns"]) for name in outputs],
        weights,
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(proto)
    return proto


def normalized(opset: int = 18, *more: onnx.NodeProto) -> onnx.ModelProto:
    """x (N, 2, 6) -> Conv -> BatchNormalization by the batch -> n, through `more` -> flat -> MatMul -> y."""
    random = np.random.default_rng(4)
    shapes = {"filters": (4, 2, 3), "a": (4,), "b": (4,), "w": (24, 3)}
    start = {name: random.normal(size=shape) for name, shape in shapes.items()}
    start |= {"mean": np.zeros(4), "var": np.ones(4)}
    last = more[-1].output[0] if more else "n"
    nodes = [
        helper.make_node("Conv", ["x", "filters"], ["c"], pads=[1, 1]),
        helper.make_node("BatchNormalization", ["c", "a", "b", "mean", "var"], ["n", "m", "v"], training_mode=1),
        *more,
        helper.make_node("Flatten", [last], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    weights = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in start.items()]
    weights += [
        numpy_helper.from_array(np.array(0.5, np.float32), "half"),
        numpy_helper.from_array(np.array(True), "yes"),
    ]
    return model(nodes, {"x": ["N", 2, 6]}, ["y"], weights, opset)


def batch(rows: int = 16, features: int = 12, classes: int = 4, seed: int = 0) -> tuple[Array, Array]:
    """Samples and the numbers of their classes."""
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, features)).astype(np.float32), random.integers(0, classes, rows)


def weights(proto: onnx.ModelProto) -> dict[str, Array]:
    """A model's initializers by name."""
    return {i.name: numpy_helper.to_array(i) for i in proto.graph.initializer}


def trained(folder: Path, module: Any) -> Any:
    """(module, optimizer, state) over the artifacts in a folder. module: `api` of either package."""
    state = module.CheckpointState.load_checkpoint(str(folder / "checkpoint"))
    network = module.Module(str(folder / "training_model.onnx"), state, str(folder / "eval_model.onnx"))
    return network, module.Optimizer(str(folder / "optimizer_model.onnx"), network), state
