"""Sums, means and extremes over axes, and what is the largest."""

import numpy as np

from export.graph.node import GraphNode
from export.tflite.lower import Lowering, Order, lowers, natural

REDUCERS = {
    "ReduceSum": "SUM",
    "ReduceMean": "MEAN",
    "ReduceMax": "REDUCE_MAX",
    "ReduceMin": "REDUCE_MIN",
    "ReduceSumSquare": "SUM",
    "ReduceL2": "SUM",
}


@lowers(*REDUCERS)
def reduce(to: Lowering, node: GraphNode) -> None:
    """Over the axes of the second input, or all."""
    X, Y = node.inputs[0], node.outputs[0]
    rank, order = len(to.shape(X)), to.order(X)
    given = to.constant(node.inputs[1]) if node.given(1) else None
    if given is None or not len(given):
        axes = [] if node.attr("noop_with_empty_axes", 0) else list(range(rank))
    else:
        axes = [int(a) % rank for a in given]
    keep, x = bool(node.attr("keepdims", 1)), to.tensor(X, order)
    if node.op_type in ("ReduceSumSquare", "ReduceL2"):
        x = to.graph.emit("MUL", [x, x], to.graph.shape(x), options="Mul")
    y, left = reduced(to, REDUCERS[node.op_type], x, order, axes, keep)
    if node.op_type == "ReduceL2":
        y = to.graph.emit("SQRT", [y], to.graph.shape(y))
    to.keep(Y, y, left)


def reduced(to: Lowering, operator: str, x: int, order: Order, axes: list[int], keep: bool) -> tuple[int, Order]:
    """(the tensor, the order of the axes that are left) of a reduction over ONNX's `axes`."""
    where = sorted(order.index(a) for a in axes)
    shape = to.graph.shape(x)
    if keep:
        sizes, left = [1 if k in where else s for k, s in enumerate(shape)], order
    else:
        sizes = [s for k, s in enumerate(shape) if k not in where]
        kept = [a for k, a in enumerate(order) if k not in where]
        left = tuple(sorted(kept).index(a) for a in kept)
    inputs = [x, to.graph.constant(where)]
    return to.graph.emit(operator, inputs, sizes, to.graph.dtype(x), options="Reducer", keepDims=keep), left


@lowers("ArgMax")
def arg_max(to: Lowering, node: GraphNode) -> None:
    """The first of the largest, without its axis or with one of size 1."""
    X, Y = node.inputs[0], node.outputs[0]
    axis = node.attr("axis", 0) % len(to.shape(X))
    sizes = [s for k, s in enumerate(to.shape(X)) if k != axis]
    inputs = [to.tensor(X), to.graph.constant(axis)]
    position = to.graph.emit("ARG_MAX", inputs, sizes, np.int32, options="ArgMax", outputType=2)
    to.keep(Y, to.reshaped(position, to.shape(Y)), natural(len(to.shape(Y))))
