"""Gradients of operators that write updates into a copy of X. What is overwritten has no gradient."""

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("ScatterND")
def scatter_nd(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X with Y[indices[i]] = updates[i] (or += with reduction="add"): every update gets what it wrote.

    Indices are unique, as the specification demands where nothing is added.
    """
    _, indices, updates = node.inputs
    dX = op("ScatterND", dY, indices, op.expanded(op.like(dY, 0), updates)) if _overwrites(node) else dY
    return [dX, None, op("GatherND", dY, indices)]


@gradient("ScatterElements")
def scatter_elements(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y[indices[i, j], j] = updates[i, j] (axis 0), as ScatterND."""
    _, indices, updates = node.inputs
    axis, dX = node.attr("axis", 0), dY
    if _overwrites(node):
        dX = op("ScatterElements", dY, indices, op.expanded(op.like(dY, 0), updates), axis=axis)
    return [dX, None, op("GatherElements", dY, indices, axis=axis)]


def _overwrites(node: GraphNode) -> bool:
    """Whether updates replace what stands there; otherwise they are added."""
    reduction = node.attr("reduction", "none")
    if reduction not in ("none", "add"):
        raise ExportError(f"node {node}: reduction={reduction} has no gradient rule, only none and add have")
    return bool(reduction == "none")
