"""Gradients of products over an axis. Dividing by X would fail at 0, so the other factors are multiplied."""

from collections.abc import Sequence

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient

LONGEST = 4096
"""factors of one product, whose square is computed"""


@gradient("ReduceProd")
def reduce_product(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = the product of X over its axes: dX[i] = dY times the product of all X[j], j != i.

    X (..., d) becomes (..., d, d) with ones on the diagonal, so that the product of row i leaves out X[i].
    """
    X, shape = node.inputs[0], node.shape(0)
    axes = _axes(node, len(shape))
    if not axes:
        return [dY, None][: len(node.inputs)]
    count = _count(node, [shape[i] for i in axes])
    order = [*(i for i in range(len(shape)) if i not in axes), *axes]
    kept = [i for i in order if i not in axes]
    last = op("Transpose", X, perm=order)
    rest = [op("Shape", last, end=len(kept))] if kept else []
    rows = op("Reshape", last, op("Concat", *rest, op.const([1, count]), axis=0))
    here = op.const(np.eye(count, dtype=np.bool_), np.bool_)
    others = op("ReduceProd", op("Where", here, op.like(X, 1), rows), op.const([-1]), keepdims=0)
    back = op("Transpose", op("Reshape", others, op("Shape", last)), perm=[order.index(i) for i in range(len(shape))])
    full = dY if node.attr("keepdims", 1) else op("Unsqueeze", dY, op.const(axes))
    return [op("Mul", full, op.assume(back, X)), None][: len(node.inputs)]


def _axes(node: GraphNode, rank: int) -> list[int]:
    if node.given(1):
        constant = node.constant(1)
        if constant is None:
            raise ExportError(f"node {node}: its axes must be constant")
        axes = [int(axis) % rank for axis in constant]
        if axes:
            return sorted(axes)
    return [] if node.attr("noop_with_empty_axes", 0) else list(range(rank))


def _count(node: GraphNode, sizes: Sequence[int | None]) -> int:
    count = 1
    for size in sizes:
        if size is None:
            raise ExportError(f"node {node}: an axis of a size known only at run time is multiplied")
        count *= size
    if count > LONGEST:
        raise ExportError(f"node {node}: a product of {count} factors; at most {LONGEST} have a gradient rule")
    return count
