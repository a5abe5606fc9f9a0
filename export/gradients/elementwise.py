"""Gradients of element-wise operators. Every value has the shape of the output Y, up to broadcasting."""

import math

import numpy as np

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient, zero_gradient

zero_gradient("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor")
zero_gradient("Sign", "Floor", "Ceil", "Round", "IsNaN", "IsInf")


@gradient("Identity")
def identity(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X."""
    return [dY]


@gradient("Add")
def add(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A + B."""
    return [dY, dY]


@gradient("Sub")
def sub(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A - B."""
    return [dY, op("Neg", dY)]


@gradient("Mul")
def mul(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A B."""
    A, B = node.inputs
    return [op("Mul", dY, B), op("Mul", dY, A)]


@gradient("Div")
def div(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A / B: dA = dY / B, dB = -dA Y."""
    dA = op("Div", dY, node.inputs[1])
    return [dA, op("Neg", op("Mul", dA, node.outputs[0]))]


@gradient("Tanh")
def tanh(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = tanh X: dX = dY (1 - Y^2)."""
    Y = node.outputs[0]
    return [op("Mul", dY, op("Sub", op.like(dY, 1), op("Mul", Y, Y)))]


@gradient("Sigmoid")
def sigmoid(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = 1 / (1 + exp(-X)): dX = dY Y (1 - Y)."""
    Y = node.outputs[0]
    return [op("Mul", dY, op("Mul", Y, op("Sub", op.like(dY, 1), Y)))]


@gradient("Neg")
def neg(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = -X."""
    return [op("Neg", dY)]


@gradient("Abs")
def absolute(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = |X|: the sign of X, 0 at 0."""
    return [op("Mul", dY, op("Sign", node.inputs[0]))]


@gradient("Reciprocal")
def reciprocal(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = 1 / X: dX = -dY Y^2."""
    Y = node.outputs[0]
    return [op("Neg", op("Mul", dY, op("Mul", Y, Y)))]


@gradient("Sqrt")
def sqrt(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sqrt X: dX = dY / (2 Y)."""
    return [op("Div", dY, op("Mul", node.outputs[0], op.like(dY, 2)))]


@gradient("Exp")
def exp(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = exp X: dX = dY Y."""
    return [op("Mul", dY, node.outputs[0])]


@gradient("Log")
def log(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = log X: dX = dY / X."""
    return [op("Div", dY, node.inputs[0])]


@gradient("Erf")
def erf(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = erf X: y' = 2 / sqrt(pi) exp(-X^2)."""
    X = node.inputs[0]
    return [op("Mul", dY, op("Mul", op("Exp", op("Neg", op("Mul", X, X))), op.like(dY, 2 / math.sqrt(math.pi))))]


@gradient("Pow")
def power(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A^B: dA = dY B A^(B-1) (0 where B is), dB = dY Y log A (0 where A is 0, whose logarithm is not finite)."""
    A, B = node.inputs
    exponent, known, zero = op("CastLike", B, A), node.constant(1), op.like(A, 0)
    dA = op("Mul", dY, op("Mul", exponent, op("Pow", A, op("Sub", exponent, op.like(A, 1)))))
    if known is None or not np.all(known):
        dA = op("Where", op("Equal", exponent, zero), zero, dA)
    if not node.wanted[1]:
        return [dA, None]
    logarithm = op("Log", op("Where", op("Greater", A, zero), A, op.like(A, 1)))
    return [dA, op("Mul", dY, op("Mul", node.outputs[0], logarithm))]


@gradient("Sum")
def total(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A + B + ..."""
    return [dY] * len(node.inputs)


@gradient("Mean")
def mean(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = (A + B + ...) / n: dA = dY / n."""
    share = op("Mul", dY, op.like(dY, 1 / len(node.inputs)))
    return [share] * len(node.inputs)


@gradient("Max", "Min")
def extreme(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = the largest (smallest) of its inputs: dY is shared equally among those that reach it."""
    equal = [op("Equal", x, node.outputs[0]) for x in node.inputs]
    share = op("Div", dY, op("Sum", *(op("CastLike", mask, dY) for mask in equal))) if len(equal) > 1 else dY
    return [op("Where", mask, share, op.like(dY, 0)) for mask in equal]


@gradient("Where")
def where(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = A where the condition holds, B elsewhere."""
    condition, zero = node.inputs[0], op.like(dY, 0)
    return [None, op("Where", condition, dY, zero), op("Where", condition, zero, dY)]


@gradient("Cast", "CastLike")
def cast(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Nothing flows to or from integers; between float types dX = dY."""
    if not (op.floats(node.inputs[0]) and op.floats(node.outputs[0])):
        return [None] * len(node.inputs)
    return [op("CastLike", dY, node.inputs[0]), None][: len(node.inputs)]
