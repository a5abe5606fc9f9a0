"""The gradient of a convolution's filters, in whichever formulation is cheapest for its shapes.

With X (N, C, *S), dY (N, M, *O), filters (M, C/g, *K) and k cells in the window:

    dW[m, c, i] = sum over n, o of dY[n, m, o] X[n, c, stride o + dilation i - pad]

Most of the time goes into writing copies of X, so the formulations differ in how many there are:

    pointwise      no copy: one product of dY and X as they are (windows of one cell)
    im2col         k copies of X, one for every cell of the window
    rows_columns   one copy of X per column and one of dY per *row* of the window: for 3x3, 3 C + 3 M channels
                   instead of 9 C; needs stride 1 along the rows
    depthwise      the same for filters of one channel, a row of the window at a time

Copies are made by a grouped convolution with one-hot filters, which the runtime does faster than slices.
Measured, ms on one thread, im2col / rows_columns: batch 32, 16 -> 16 channels at 32x32 3.3 / 2.3; 32 -> 32 at
16x16 1.7 / 1.3; 64 -> 64 at 8x8 1.5 / 1.3; depthwise 96 at 16x16 6.8 / 5.6 (batch 8: 1.29 / 0.83).
"""

from math import prod

import onnx

from export.graph.builder import GraphBuilder, Value
from export.graph.node import FILTER_GRADIENT, GraphNode
from export.graph.rewrite import Rewrite, ValueIndex
from export.graph.window import Window, one_hot

LONG = 200
"""positions from which on a depthwise gradient is a matrix product"""
WORTH = 0.9
"""rows_columns is taken where it writes less than this share of what im2col writes"""


def apply(op: GraphBuilder, proto: onnx.NodeProto, _: ValueIndex) -> Value:
    """Write dW (M, C/g, *K) with standard operators."""
    node = GraphNode(op, proto, [])
    X, dY = node.inputs
    window, group = Window.of(node, op.sample(node.outputs[0])[1:]), node.attr("group", 1)
    C, M, rows = op.sample(X)[0], op.sample(dY)[0], window.kernel[0]
    columns = prod(window.kernel[1:])
    if set(window.kernel) == {1} and not any(window.pads):
        return pointwise(op, X, dY, window, group)
    if not _mirrors(window) or C * columns + M * rows >= WORTH * (C * rows * columns + M):
        return im2col(op, X, dY, window, group)
    return (depthwise if C == M == group else rows_columns)(op, X, dY, window, group)


def pointwise(op: GraphBuilder, X: Value, dY: Value, window: Window, group: int) -> Value:
    """Windows of one cell: X where a window stands, and nothing to copy at stride 1."""
    n = len(window.kernel)
    if any(s > 1 for s in window.strides):
        zeros, far = op.const([0] * n), op.const([2**62] * n)
        X = op("Slice", X, zeros, far, op.const(range(2, 2 + n)), op.const(window.strides))
    product = _product(op, dY, X, group)
    return op("Reshape", product, op.const([op.sample(dY)[0], op.sample(X)[0] // group, *window.kernel]))


def im2col(op: GraphBuilder, X: Value, dY: Value, window: Window, group: int) -> Value:
    """Every cell of the window in a channel of its own."""
    C, M = op.sample(X)[0], op.sample(dY)[0]
    patches = op("Conv", X, op.const(one_hot(C, window.kernel), op.dtype(dY)), group=C, **window.attributes)
    product = _product(op, patches, dY, group)
    return op("Reshape", op.swapped(product), op.const([M, C // group, *window.kernel]))


def rows_columns(op: GraphBuilder, X: Value, dY: Value, window: Window, group: int) -> Value:
    """dW[m, c, (i, j)] = sum over n, r, q of dY[n, m, r + pad - dilation i, q] X[n, c, r, stride q + dilation j - pad].

    The copies shift the second index of dY and the last of X; r runs over the rows of X.
    """
    C, M, n = op.sample(X)[0], op.sample(dY)[0], len(window.kernel)
    (rows, *columns), d = window.kernel, window.dilations[0]
    start, end = (d * (rows - 1) - window.pads[i] for i in (0, n))
    backwards = op.const(one_hot(M, (rows, *[1] * (n - 1)))[:, :, ::-1], op.dtype(dY))
    pads, dilations = [start, *[0] * (n - 1), end, *[0] * (n - 1)], [d, *[1] * (n - 1)]
    dYs = op("Conv", dY, backwards, group=M, pads=pads, dilations=dilations)
    product = _product(op, dYs, _columns(op, X, window), group)
    apart = op("Reshape", product, op.const([M, rows, C // group, prod(columns)]))
    return op("Reshape", op("Transpose", apart, perm=[0, 2, 1, 3]), op.const([M, C // group, *window.kernel]))


def depthwise(op: GraphBuilder, X: Value, dY: Value, window: Window, _: int) -> Value:
    """As rows_columns, a row of the window at a time: padding, which may be negative, shifts dY."""
    (C, *S), (_M, *O) = op.sample(X), op.sample(dY)
    rows, columns, row = window.kernel[0], prod(window.kernel[1:]), prod(O[1:])
    Xs = op("Reshape", _columns(op, X, window), op.const([0, C, columns, -1]))
    flat = op("Reshape", dY, op.const([0, C, 1, -1]))
    gradients = []
    for i in range(rows):
        start = window.dilations[0] * i - window.pads[0]
        pads = [0, 0, 0, start * row, 0, 0, 0, (S[0] - O[0] - start) * row]
        shifted = op("Pad", flat, op.const(pads)) if any(pads) else flat
        gradients.append(op("Reshape", _rows(op, Xs, shifted), op.const([C, 1, columns])))
    return op("Reshape", op("Concat", *gradients, axis=1), op.const([C, 1, *window.kernel]))


def _columns(op: GraphBuilder, X: Value, window: Window) -> Value:
    """X (N, C * columns, S[0], *O[1:]): all rows, and a copy for every cell of a row of the window."""
    n, kernel = len(window.kernel), (1, *window.kernel[1:])
    pads = [0, *window.pads[1:n], 0, *window.pads[n + 1 :]]
    filters = op.const(one_hot(C := op.sample(X)[0], kernel), op.dtype(X))
    return op("Conv", X, filters, group=C, pads=pads, strides=window.strides, dilations=[1, *window.dilations[1:]])


def _mirrors(window: Window) -> bool:
    """Whether shifting dY instead of X along the rows needs no gaps and no negative padding."""
    n, reach = len(window.kernel), window.dilations[0] * (window.kernel[0] - 1)
    return window.strides[0] == 1 and reach >= max(window.pads[0], window.pads[n])


def _product(op: GraphBuilder, A: Value, B: Value, group: int) -> Value:
    """Sum over n and o of A[n, a, o] B[n, b, o], within each group: (a, b), or (g, a/g, b/g).

    One product per sample, then a sum; where those products would be larger than A and B, one product over all
    samples, with the batch axis of A and B moved next to the positions first.
    """
    (a, *O), b = op.sample(A), op.sample(B)[0]
    if group == 1 and a * b > (a + b) * prod(O):
        turned = [op("Reshape", v, op.const([0, c, -1])) for v, c in ((A, a), (B, b))]
        turned = [op("Transpose", v, perm=[1, 0, 2]) for v in turned]
        flat = [op("Reshape", v, op.const([c, -1])) for v, c in zip(turned, (a, b), strict=True)]
        return op("Gemm", *flat, transB=1)
    groups = [group] if group > 1 else []
    flat = [op("Reshape", v, op.const([0, *groups, op.sample(v)[0] // group, -1])) for v in (A, B)]
    if group > 1 and b == group:
        return op("Unsqueeze", _rows(op, *flat), op.const([2]))
    return op.sum(op("MatMul", flat[0], op.swapped(flat[1])), [0])


def _rows(op: GraphBuilder, A: Value, b: Value) -> Value:
    """Sum over n and l of A[n, c, a, l] b[n, c, 0, l]: (C, a).

    With few l a product per channel and sample is mostly overhead, and element-wise is faster; with many, element-wise
    reads and writes three times as much. Measured at batch 32, element-wise / product: 48 channels of 32x32 17.1 / 6.9
    ms, 96 of 16x16 3.8 / 2.4, 192 of 8x8 2.5 / 2.7, 64 of 25x5 1.2 / 1.7.
    """
    length = op.shape(b)[3]
    if length is not None and length >= LONG:
        return op("Squeeze", op.sum(op("MatMul", b, op.swapped(A)), [0]), op.const([1]))
    return op.sum(op("Mul", A, b), [0, 3])


REWRITE = Rewrite(frozenset({FILTER_GRADIENT}), apply)
