"""Low-rank adaptation (Hu et al. 2021): a small trained layer beside every frozen one, W x + B A x.

A has R rows; B has R columns and starts at zero, so that the model starts as it was. The product with A comes first, so
no gradient of the size of W is ever computed. Convolutions get R filters of their own size, and a 1x1 convolution after
them.
"""

from dataclasses import dataclass, replace
from math import prod, sqrt

import numpy as np
import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.builder import Array
from export.graph.node import attributes
from export.model import Model


@dataclass(frozen=True)
class Adapter:
    """The layer that takes the place of a frozen one: its nodes and its new parameters."""

    nodes: list[onnx.NodeProto]
    parameters: dict[str, Array]


def adapt(model: Model, rank: int, *, seed: int = 0) -> Model:
    """Put an adapter beside every linear layer and convolution, and train nothing else.

    Args:
        model: the model.
        rank: R, 1 or more.
        seed: of the initial values of every A.

    Returns:
        The model with adapters.

    Raises:
        ExportError: a rank below 1, or no layer to adapt.
    """
    if rank < 1:
        raise ExportError(f"--train lora:{rank}: expected a rank of 1 or more, as in lora:4")
    random = np.random.default_rng([seed, rank])
    nodes: list[onnx.NodeProto] = []
    parameters: dict[str, Array] = {}
    for node in model.nodes:
        if _can_adapt(model, node):
            adapter = _adapter(model, node, rank, random)
            nodes += adapter.nodes
            parameters |= adapter.parameters
        else:
            nodes.append(node)
    if not parameters:
        raise ExportError(f"--train lora:{rank}: the model has no linear layer or convolution to adapt")
    return replace(
        model,
        nodes=tuple(nodes),
        parameters={**model.parameters, **parameters},
        trainable=frozenset(parameters),
    )


def _can_adapt(model: Model, node: onnx.NodeProto) -> bool:
    """Whether the node is a convolution of one group, or a product of an activation and a weight matrix."""
    if node.op_type not in ("Gemm", "MatMul", "Conv") or node.input[1] not in model.parameters:
        return False
    written = attributes(node)
    if node.input[0] in model.parameters or written.get("transA") or written.get("group", 1) != 1:
        return False
    return node.op_type == "Conv" or model.parameters[node.input[1]].ndim == 2


def _adapter(model: Model, node: onnx.NodeProto, rank: int, random: np.random.Generator) -> Adapter:
    written, W = attributes(node), model.parameters[node.input[1]]
    y, a, b = node.output[0], f"{node.input[1]}.lora_a", f"{node.input[1]}.lora_b"
    down, side, main = f"{y}/lora_down", f"{y}/lora", f"{y}/frozen"
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    if node.op_type == "Conv":
        shapes = (rank, *W.shape[1:]), (W.shape[0], rank, *[1] * (W.ndim - 2))
        geometry = {k: v for k, v in written.items() if k != "group"}
        path = [
            helper.make_node("Conv", [node.input[0], a], [down], name=down, **geometry),
            helper.make_node("Conv", [down, b], [side], name=side),
        ]
    else:
        inputs, outputs = W.shape[::-1] if written.get("transB") else W.shape
        shapes = (inputs, rank), (rank, outputs)
        path = [
            helper.make_node("MatMul", [node.input[0], a], [down], name=down),
            helper.make_node("MatMul", [down, b], [side], name=side),
        ]
    bound = 1 / sqrt(prod(shapes[0]) / rank)
    initial = random.uniform(-bound, bound, shapes[0]).astype(np.float32)
    frozen = onnx.NodeProto()
    frozen.CopyFrom(node)
    frozen.output[0] = main
    joined = helper.make_node("Add", [main, side], [y], name=f"{node.name or y}/adapted")
    return Adapter([frozen, *path, joined], {a: initial, b: np.zeros(shapes[1], np.float32)})
