"""Batch normalization, written out."""

import numpy as np

from export.graph.node import GraphNode
from export.tflite.lower import Lowering, lowers
from export.tflite.operators.reduce import reduced


@lowers("BatchNormalization")
def batch_normalization(to: Lowering, node: GraphNode) -> None:
    """Y = a X + b, one a and b a channel, from the running statistics or the batch's, which are then results too."""
    X, scale, bias, mean, variance = node.inputs
    rank, graph = len(to.shape(X)), to.graph
    order = to.order(X) if to.order(X)[-1] == 1 else (0, *range(2, rank), 1)  # channels last: they broadcast
    x, channels = to.tensor(X, order), (to.shape(X)[1],)
    if node.attr("training_mode", 0):
        axes = [0, *range(2, rank)]
        average, _ = reduced(to, "MEAN", x, order, axes, keep=False)
        apart = graph.emit("SQUARED_DIFFERENCE", [x, average], graph.shape(x), options="SquaredDifference")
        spread, _ = reduced(to, "MEAN", apart, order, axes, keep=False)
        kept = float(node.attr("momentum", 0.9))
        for name, running, now in zip(node.outputs[1:], (mean, variance), (average, spread), strict=True):
            if kept:
                old = graph.emit("MUL", [to.tensor(running), graph.constant(kept, np.float32)], channels, options="Mul")
                new = graph.emit("MUL", [now, graph.constant(1 - kept, np.float32)], channels, options="Mul")
                to.keep(name, graph.emit("ADD", [old, new], channels, options="Add"))
            else:
                to.keep(name, now)
    else:
        average, spread = to.tensor(mean), to.tensor(variance)
    epsilon = graph.constant(node.attr("epsilon", 1e-5), np.float32)
    inverse = graph.emit("RSQRT", [graph.emit("ADD", [spread, epsilon], channels, options="Add")], channels)
    a = graph.emit("MUL", [to.tensor(scale), inverse], channels, options="Mul")
    shift = graph.emit("MUL", [average, a], channels, options="Mul")
    b = graph.emit("SUB", [to.tensor(bias), shift], channels, options="Sub")
    scaled = graph.emit("MUL", [x, a], graph.shape(x), options="Mul")
    to.keep(node.outputs[0], graph.emit("ADD", [scaled, b], graph.shape(x), options="Add"), order)
