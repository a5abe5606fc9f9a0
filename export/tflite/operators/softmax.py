"""Probabilities and the loss on them."""

import numpy as np

from export.errors import ExportError
from export.graph.node import GraphNode
from export.tflite.lower import Lowering, Order, lowers
from export.tflite.operators.reduce import reduced


@lowers("Softmax", "LogSoftmax")
def softmax(to: Lowering, node: GraphNode) -> None:
    """Along one axis, which TFLite wants last in memory."""
    X, Y = node.inputs[0], node.outputs[0]
    axis = node.attr("axis", -1) % len(to.shape(X))
    order = _last(to.order(X), axis)
    x = to.tensor(X, order)
    if node.op_type == "Softmax":
        y = to.graph.emit("SOFTMAX", [x], to.graph.shape(x), options="Softmax", beta=1.0)
    else:
        y = to.graph.emit("LOG_SOFTMAX", [x], to.graph.shape(x), options="LogSoftmax")
    to.keep(Y, y, order)


@lowers("SoftmaxCrossEntropyLoss")
def cross_entropy(to: Lowering, node: GraphNode) -> None:
    """Mean, sum or each of -log softmax(x)[label]; the second result is log softmax(x)."""
    X, labels, *weights = node.inputs
    rank = len(to.shape(X))
    if weights or node.has("ignore_index") or rank != 2:
        raise ExportError(f"--tflite: node {node}: only plain labels of (N, K) logits are supported")
    x = to.tensor(X)
    logs = to.graph.emit("LOG_SOFTMAX", [x], to.shape(X), options="LogSoftmax")
    chosen = to.graph.emit("MUL", [logs, hot(to, to.tensor(labels), to.shape(X)[1])], to.shape(X), options="Mul")
    rows, _ = reduced(to, "SUM", chosen, (0, 1), [1], keep=False)
    losses = to.graph.emit("NEG", [rows], to.graph.shape(rows), options="Neg")
    reduction = node.attr("reduction", "mean")
    if reduction != "none":
        losses, _ = reduced(to, "MEAN" if reduction == "mean" else "SUM", losses, (0,), [0], keep=False)
    to.keep(node.outputs[0], losses)
    if len(node.outputs) > 1 and node.outputs[1]:
        to.keep(node.outputs[1], logs)


@lowers("OneHot")
def one_hot(to: Lowering, node: GraphNode) -> None:
    """(..., depth) of off and on values."""
    indices, depth, values = node.inputs
    levels, size = to.constant(values), to.constant(depth)
    if levels is None or size is None or node.attr("axis", -1) not in (-1, len(to.shape(indices))):
        raise ExportError(f"--tflite: node {node}: depth and values must be constants, and its axis the last")
    encoded = hot(to, to.tensor(indices), int(size.reshape(())), float(levels[1]), float(levels[0]))
    if to.dtype(node.outputs[0]) != np.float32:
        encoded = to.graph.emit("CAST", [encoded], to.graph.shape(encoded), to.dtype(node.outputs[0]), options="Cast")
    to.keep(node.outputs[0], encoded)


def hot(to: Lowering, indices: int, depth: int, on: float = 1.0, off: float = 0.0) -> int:
    """One row of `depth` an index."""
    levels = [to.graph.constant(v, np.float32) for v in (on, off)]
    inputs = [indices, to.graph.constant(depth), *levels]
    return to.graph.emit("ONE_HOT", inputs, [*to.graph.shape(indices), depth], options="OneHot", axis=-1)


def _last(order: Order, axis: int) -> Order:
    return (*(a for a in order if a != axis), axis)
