"""Depthwise convolutions of small images as one matrix product a channel.

The runtime convolves channel by channel and sample by sample, which for 4x4 images is all overhead. With
T_c (L, O) the matrix whose column o holds the filter where window o reads the image (a Toeplitz matrix
for each axis),

    Y[n, c, o] = sum over l of X[n, c, l] T_c[l, o],    T = W (C, k) times a constant (k, L O)

which is exact (all else is zeros), and whose gradient is made of products too.
"""

from math import prod

import numpy as np
import onnx
from onnx import helper

from export.graph.builder import Array, Ops
from export.graph.node import Node
from export.graph.window import Window

LARGEST = 256
"""Entries of T_c up to which this is done."""


def apply(op: Ops, node: onnx.NodeProto) -> bool:
    """Append the product instead of `node`, a Conv, if it is depthwise and small enough."""
    X, W, *bias = node.input
    C, *S = op.sample(X)
    (
        M,
        *_,
    ) = op.shape(W)
    group = Node(op, node, []).attr("group", 1)
    if not C == M == group > 1:
        return False
    window = Window.of(Node(op, node, []), op.sample(W)[1:])
    matrix = positions(window, S)
    k, L, O = matrix.shape
    if L * O > LARGEST:
        return False
    flat = op("MatMul", op("Reshape", W, op.const([C, k])), op.const(matrix.reshape(k, -1), op.dtype(W)))
    T = op("Reshape", flat, op.const([C, L, O]))
    turned = op("Transpose", op("Reshape", X, op.const([0, C, L])), perm=[1, 0, 2])
    Y = op("Transpose", op("MatMul", turned, T), perm=[1, 0, 2])
    if bias:
        Y = op("Add", Y, op("Unsqueeze", bias[0], op.const([1])))
    out = window.positions(S)
    op.append(helper.make_node("Reshape", [Y, op.const([0, C, *out])], list(node.output), name=node.name))
    return True


def positions(window: Window, S: list[int] | tuple[int, ...]) -> Array:
    """(k, L, O): 1 where window o reads image cell l through cell k of the filter."""
    out = window.positions(S)
    matrix = np.zeros((*window.kernel, *S, *out))
    for cell in np.ndindex(*window.kernel):
        for o in np.ndindex(*out):
            at = tuple(o[i] * window.strides[i] + cell[i] * window.dilations[i] - window.pads[i] for i in range(len(S)))
            if all(0 <= a < s for a, s in zip(at, S, strict=True)):
                matrix[(*cell, *at, *o)] = 1
    return matrix.reshape(prod(window.kernel), prod(S), prod(out))
