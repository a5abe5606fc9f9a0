"""Gradients of operators that only rearrange elements."""

from itertools import zip_longest

import numpy as np

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient, zero_gradient

zero_gradient("Shape", "Size", "ConstantOfShape", "Range", "ArgMax", "ArgMin", "NonZero", "OneHot")


@gradient("Flatten", "Reshape", "Squeeze", "Unsqueeze")
def reshape(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y holds X's elements in X's order: dX is dY in X's shape."""
    unknown = node.shape(0).count(None)
    if unknown <= 1:
        target = op.const([-1 if d is None else d for d in node.shape(0)])
    else:
        target = op("Shape", node.inputs[0])
    return [op("Reshape", dY, target), None][: len(node.inputs)]


@gradient("Transpose")
def transpose(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y's axis i is X's axis perm[i]: the inverse permutation leads back."""
    perm = node.attr("perm", list(reversed(range(len(node.shape(0))))))
    return [op("Transpose", dY, perm=np.argsort(perm).tolist())]


@gradient("Concat")
def concat(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X_1, X_2, ... side by side: dY is cut at their borders."""
    axis = node.attr("axis", 0)
    lengths = [op.shape(x)[axis] for x in node.inputs]
    if None in lengths:
        sizes = op("Concat", *(_length(op, x, axis) for x in node.inputs), axis=0)
    else:
        sizes = op.const(lengths)
    parts = op.all("Split", dY, sizes, outputs=len(node.inputs), axis=axis)
    return [op.assume(part, x) for part, x in zip(parts, node.inputs, strict=True)]


@gradient("Split")
def split(op: GraphBuilder, node: GraphNode, *dYs: Value | None) -> Adjoints:
    """Y_1, Y_2, ... = X in pieces: their adjoints side by side, zero for a piece that nothing depends on."""
    pairs = zip_longest(node.outputs, dYs)
    parts = [dY if dY is not None else op("Mul", Y, op.like(Y, 0)) for Y, dY in pairs]
    return [op("Concat", *parts, axis=node.attr("axis", 0)), None][: len(node.inputs)]


def _length(op: GraphBuilder, value: Value, axis: int) -> Value:
    axis %= len(op.shape(value))
    return op("Shape", value, start=axis, end=axis + 1)
