"""Gradient of LpNormalization."""

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("LpNormalization")
def lp_normalization(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X / l along `axis`, l = |X|_p: dX = (dY - s sum(dY Y)) / l, with s = Y for p = 2 and sign X for p = 1.

    Where all of X is 0, so are Y and dX.
    """
    X, Y = node.inputs[0], node.outputs[0]
    axis = op.const([node.attr("axis", -1)])
    second = node.attr("p", 2) == 2
    length = op("ReduceL2" if second else "ReduceL1", X, axis, keepdims=1)
    s = Y if second else op("Sign", X)
    along = op("ReduceSum", op("Mul", dY, Y), axis, keepdims=1)
    zero = op.like(dY, 0)
    empty = op("Equal", length, zero)
    slope = op("Div", op("Sub", dY, op("Mul", s, along)), op("Where", empty, op.like(dY, 1), length))
    return [op("Where", empty, zero, slope)]
