"""The gradient of a convolution's filters in the formulations that TFLite does fastest; see `filter_gradient`.

exchanged   one convolution with batch and channels exchanged, where there is one group
cells       a product for every cell of the window, where every group is one channel
"""

import numpy as np
import onnx

from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.graph.node import FILTER_GRADIENT, GraphNode
from export.graph.rewrite import TFLITE, Rewrite, ValueIndex
from export.graph.window import Window


def apply(op: GraphBuilder, proto: onnx.NodeProto, _: ValueIndex) -> Value:
    """Write dW (M, C/g, *K) with standard operators."""
    node = GraphNode(op, proto, [])
    X, dY = node.inputs
    window, group = Window.of(node, op.sample(node.outputs[0])[1:]), node.attr("group", 1)
    return (cells if group > 1 else exchanged)(op, X, dY, window, group)


def exchanged(op: GraphBuilder, X: Value, dY: Value, window: Window, _: int) -> Value:
    """A convolution with batch and channels exchanged: dY are the filters, strides and dilations swap roles."""
    n, (_C, *S), (_M, *O) = len(window.kernel), op.sample(X), op.sample(dY)
    # Cells that no window reaches would make the result larger than the filters: they are left out, padding first.
    ends = [p - skipped for p, skipped in zip(window.pads[n:], window.skipped(S, O), strict=True)]
    if min(ends) < 0:
        size = [s + min(e, 0) for s, e in zip(S, ends, strict=True)]
        X = op("Slice", X, op.const([0] * n), op.const(size), op.const(range(2, 2 + n)))
    pads = [*window.pads[:n], *(max(e, 0) for e in ends)]
    axes = [1, 0, *range(2, 2 + n)]
    turned = [op("Transpose", value, perm=axes) for value in (X, dY)]
    whole = op("Conv", *turned, strides=window.dilations, dilations=window.strides, pads=pads)
    return op("Transpose", whole, perm=axes)


def cells(op: GraphBuilder, X: Value, dY: Value, window: Window, group: int) -> Value:
    """Filters of one channel: for every cell of the window a product of dY with the X it sees, summed."""
    (C, *_), (M, *O), n = op.sample(X), op.sample(dY), len(window.kernel)
    if not C == M == group:
        raise ExportError(f"a convolution of {C} to {M} channels in {group} groups has no gradient for TFLite")
    pads = [0, 0, *window.pads[:n], 0, 0, *window.pads[n:]]
    wide = op("Pad", X, op.const(pads)) if any(pads) else X
    gradients = []
    for cell in np.ndindex(*window.kernel):
        start = [c * d for c, d in zip(cell, window.dilations, strict=True)]
        end = [a + (o - 1) * s + 1 for a, o, s in zip(start, O, window.strides, strict=True)]
        bounds = [op.const(v) for v in (start, end, range(2, 2 + n), window.strides)]
        seen = op("Mul", op("Slice", wide, *bounds), dY)
        gradients.append(op("Reshape", op.sum(seen, [0, *range(2, 2 + n)]), op.const([C, 1, 1])))
    return op("Reshape", op("Concat", *gradients, axis=2), op.const([C, 1, *window.kernel]))


REWRITE = Rewrite(frozenset({FILTER_GRADIENT}), apply, targets=frozenset({TFLITE}))
