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


@gradient("CumProd")
def cumulative_product(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y[i] = the product of X up to i: dX[k] = the sum over i of dY[i] times Y[i] with 1 in place of X[k].

    X (..., d) becomes (..., d, d) with ones on the diagonal; row k gives what X[k] is multiplied with in every Y[i],
    and is summed over those i that X[k] takes part in.
    """
    X, shape, axis = node.inputs[0], node.shape(0), node.constant(1)
    if axis is None:
        raise ExportError(f"node {node}: its axis must be constant")
    last, rank = int(axis.item()) % len(shape), len(shape)
    count, order = _count(node, [shape[last]]), [*(i for i in range(rank) if i != last), last]
    exclusive, reverse = node.attr("exclusive", 0), node.attr("reverse", 0)
    rows, adjoints = (op("Unsqueeze", op("Transpose", v, perm=order), op.const([-2])) for v in (X, dY))
    others = op("Where", op.const(np.eye(count, dtype=np.bool_), np.bool_), op.like(X, 1), rows)
    products = op("CumProd", others, op.const(rank), exclusive=exclusive, reverse=reverse)
    parts = np.tri(count, k=-exclusive) if reverse else np.tri(count, k=-exclusive).T
    terms = op("Mul", op("Mul", products, adjoints), op.const(parts, op.dtype(X)))
    return [op("Transpose", op.sum(terms, [rank]), perm=np.argsort(order).tolist()), None]


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
