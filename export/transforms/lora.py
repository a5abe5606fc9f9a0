"""Low-rank adaptation (Hu et al. 2021): beside every frozen layer a small one, W x + B A x, that is trained.

A has R rows, B has R columns and starts at zero, so that the model starts as it was. The product with A comes
first: no gradient of the size of W is ever made. Convolutions get R filters of their own size, and a 1x1
convolution after them.
"""

from dataclasses import replace
from math import prod, sqrt

import numpy as np
import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.builder import Array
from export.graph.node import attributes
from export.model import Model


def adapt(model: Model, rank: int, *, seed: int = 0) -> Model:
    """The model with adapters of `rank` on every linear layer and convolution, and nothing else trained.

    Raises:
        ExportError: a rank below 1, or no layer to adapt.
    """
    if rank < 1:
        raise ExportError(f"--train lora:{rank}: expected a rank of 1 or more, as in lora:4")
    random = np.random.default_rng([seed, rank])
    nodes: list[onnx.NodeProto] = []
    parameters: dict[str, Array] = {}
    for node in model.nodes:
        added = _adapter(model, node, rank, random)
        if added is None:
            nodes.append(node)
            continue
        own, values = added
        nodes += own
        parameters |= values
    if not parameters:
        raise ExportError(f"--train lora:{rank}: the model has no linear layer or convolution to adapt")
    return replace(
        model,
        nodes=tuple(nodes),
        parameters={**model.parameters, **parameters},
        trainable=frozenset(parameters),
    )


def _adapter(
    model: Model, node: onnx.NodeProto, rank: int, random: np.random.Generator
) -> tuple[list[onnx.NodeProto], dict[str, Array]] | None:
    """The nodes instead of `node`, and the new parameters; None where there is nothing to adapt."""
    kind, own = node.op_type, attributes(node)
    W = model.parameters.get(node.input[1]) if kind in ("Gemm", "MatMul", "Conv") else None
    if W is None or node.input[0] in model.parameters or own.get("transA") or own.get("group", 1) != 1:
        return None
    if kind != "Conv" and W.ndim != 2:
        return None
    y, a, b = node.output[0], f"{node.input[1]}.lora_a", f"{node.input[1]}.lora_b"
    down, side, main = f"{y}/lora_down", f"{y}/lora", f"{y}/frozen"
    if kind == "Conv":
        shapes = (rank, *W.shape[1:]), (W.shape[0], rank, *[1] * (W.ndim - 2))
        geometry = {k: v for k, v in own.items() if k != "group"}
        path = [
            helper.make_node("Conv", [node.input[0], a], [down], name=down, **geometry),
            helper.make_node("Conv", [down, b], [side], name=side),
        ]
    else:
        inputs, outputs = W.shape[::-1] if own.get("transB") else W.shape
        shapes = (inputs, rank), (rank, outputs)
        path = [
            helper.make_node("MatMul", [node.input[0], a], [down], name=down),
            helper.make_node("MatMul", [down, b], [side], name=side),
        ]
    bound = 1 / sqrt(prod(shapes[0]) / rank)
    start = random.uniform(-bound, bound, shapes[0]).astype(np.float32)
    frozen = onnx.NodeProto()
    frozen.CopyFrom(node)
    frozen.output[0] = main
    joined = helper.make_node("Add", [main, side], [y], name=f"{node.name or y}/adapted")
    return [frozen, *path, joined], {a: start, b: np.zeros(shapes[1], np.float32)}
