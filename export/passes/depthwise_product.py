"""Depthwise convolutions of small images as one matrix product a channel.

The runtime convolves channel by channel and sample by sample, which is mostly overhead for 4x4 images. Let T_c (L, O)
be the matrix whose column o holds the filter where window o reads the image, for an image of L cells and O windows
(a Toeplitz matrix along each axis). Then

    Y[n, c, o] = sum over l of X[n, c, l] T_c[l, o],    T = W (C, k) times a constant (k, L O)

exactly, since every other entry is zero. The gradient consists of products too, which is why this happens before
differentiation.

Measured: mobilenet-v2 over PyTorch 1.49 -> 1.30 at batch 32; images of up to 64 cells would make batch 1 slower
(0.84 -> 1.22).
"""

from functools import cache
from math import prod

import numpy as np
import onnx

from export.graph.builder import Array, GraphBuilder, Value
from export.graph.node import GraphNode
from export.graph.rewrite import Rewrite, ValueIndex
from export.graph.window import Window

LARGEST = 256
"""Entries of T_c up to which this is done."""


def apply(op: GraphBuilder, proto: onnx.NodeProto, _: ValueIndex) -> Value | None:
    """Rewrite a Conv that is depthwise and small enough."""
    node = GraphNode(op, proto, [])
    X, W, *bias = node.inputs
    C, *S = op.sample(X)
    if not C == op.shape(W)[0] == node.attr("group", 1) > 1:
        return None
    window = Window.of(node, op.sample(W)[1:])
    matrix = positions(window, tuple(S))
    k, L, O = matrix.shape
    if L * O > LARGEST:
        return None
    flat = op("MatMul", op("Reshape", W, op.const([C, k])), op.const(matrix.reshape(k, -1), op.dtype(W)))
    T = op("Reshape", flat, op.const([C, L, O]))
    channels_first = op("Transpose", op("Reshape", X, op.const([0, C, L])), perm=[1, 0, 2])
    Y = op("Transpose", op("MatMul", channels_first, T), perm=[1, 0, 2])
    if bias:
        Y = op("Add", Y, op("Unsqueeze", bias[0], op.const([1])))
    return op("Reshape", Y, op.const([0, C, *window.positions(S)]))


@cache
def positions(window: Window, S: tuple[int, ...]) -> Array:
    """(k, L, O): 1 where window o reads image cell l through cell k of the filter."""
    out = window.positions(S)
    matrix = np.zeros((*window.kernel, *S, *out))
    for cell in np.ndindex(*window.kernel):
        for o in np.ndindex(*out):
            at = tuple(o[i] * window.strides[i] + cell[i] * window.dilations[i] - window.pads[i] for i in range(len(S)))
            if all(0 <= a < s for a, s in zip(at, S, strict=True)):
                matrix[(*cell, *at, *o)] = 1
    return matrix.reshape(prod(window.kernel), prod(S), prod(out))


REWRITE = Rewrite(frozenset({"Conv"}), apply, training_only=True)
