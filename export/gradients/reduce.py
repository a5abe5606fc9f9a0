"""Gradients of reductions. X (..., d, ...) is reduced over `axes`; kept axes stand at 1."""

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("ReduceSum")
def reduce_sum(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sum X: every element gets dY."""
    dX = op.expanded(_kept(op, node, dY), node.inputs[0])
    return [dX, None][: len(node.inputs)]


@gradient("ReduceMean")
def reduce_mean(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = mean X: every element gets dY / n."""
    X, Y = node.inputs[0], node.outputs[0]
    count = op("Div", op("Size", X), op("Size", Y))
    scaled = op("Div", _kept(op, node, dY), op("CastLike", count, dY))
    return [op.expanded(scaled, X), None][: len(node.inputs)]


@gradient("ReduceSumSquare")
def reduce_sum_square(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sum X^2: dX = 2 X dY."""
    dX = op("Mul", node.inputs[0], op("Mul", _kept(op, node, dY), op.like(dY, 2)))
    return [dX, None][: len(node.inputs)]


@gradient("ReduceL2")
def reduce_l2(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sqrt(sum X^2): dX = dY X / Y, and 0 where all of X is."""
    Y = node.outputs[0]
    length = op("Where", op("Equal", Y, op.like(Y, 0)), op.like(Y, 1), Y)
    dX = op("Mul", node.inputs[0], _kept(op, node, op("Div", dY, length)))
    return [dX, None][: len(node.inputs)]


@gradient("ReduceMax", "ReduceMin")
def reduce_extreme(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = the largest (smallest) of X: dY is shared equally among the elements that reach it."""
    X = node.inputs[0]
    mask = op("CastLike", op("Equal", X, _kept(op, node, node.outputs[0])), dY)
    axes = node.inputs[1:2] or [op.const(node.attr("axes", list(range(len(op.shape(X))))))]
    ties = op("ReduceSum", mask, *axes, keepdims=1)
    return [op("Mul", mask, op("Div", _kept(op, node, dY), ties)), None][: len(node.inputs)]


def _kept(op: GraphBuilder, node: GraphNode, dY: Value) -> Value:
    """dY with the reduced axes put back at length 1."""
    if node.attr("keepdims", 1):
        return dY
    if not node.given(1):  # all axes (or, before opset 18, the attribute)
        axes = node.attr("axes", list(range(len(node.shape(0)))))
        return op("Unsqueeze", dY, op.const(axes)) if not node.attr("noop_with_empty_axes", 0) else dY
    if (axes := node.constant(1)) is None:
        raise ExportError(f"node {node}: its axes must be constant")
    return op("Unsqueeze", dY, op.const(axes))
