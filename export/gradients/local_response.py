"""Gradient of LRN, local response normalization (Krizhevsky, Sutskever, Hinton 2012, section 3.3).

X (N, C, *S); B (C, C) is 1 where channel d is in the window of channel c:

  S  = bias + alpha / size * B X^2,    Y = X S^-beta
  dX = dY S^-beta - 2 alpha beta / size * X * B^T (dY Y / S)
"""

import numpy as np

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.graph.builder import Array


@gradient("LRN")
def local_response_normalization(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Over a window of `size` channels, a product with its matrix."""
    X, Y = node.inputs[0], node.outputs[0]
    size, alpha, beta = node.attr("size", 1), node.attr("alpha", 1e-4), node.attr("beta", 0.75)
    C, *S = op.sample(X)
    B = window(C, size)

    def summed(value: Value, matrix: Array) -> Value:
        flat = op("Reshape", value, op.const([0, C, -1]))
        return op("Reshape", op("MatMul", op.const(matrix, op.dtype(X)), flat), op.const([0, C, *S]))

    scaled = op("Mul", summed(op("Mul", X, X), B), op.like(X, alpha / size))
    total = op("Add", scaled, op.like(X, node.attr("bias", 1.0)))
    across = summed(op("Div", op("Mul", dY, Y), total), B.T)
    direct = op("Mul", dY, op("Pow", total, op.like(X, -beta)))
    return [op("Sub", direct, op("Mul", op("Mul", X, across), op.like(X, 2 * alpha * beta / size)))]


def window(channels: int, size: int) -> Array:
    """(C, C): 1 where a channel, the column, is in the window of another, the row."""
    distance = np.arange(channels) - np.arange(channels)[:, None]
    return ((distance >= -((size - 1) // 2)) & (distance <= size // 2)).astype(np.float64)
