"""Gradients of element-wise operators. Every value has the shape of the output Y, up to broadcasting."""

from export.gradients import Adjoints, Node, Ops, Value, gradient, zero_gradient

zero_gradient("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "And", "Or", "Not", "Xor")
zero_gradient("Sign", "Floor", "Ceil", "Round", "IsNaN", "IsInf")


@gradient("Identity")
def identity(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = X."""
    return [dY]


@gradient("Add")
def add(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = A + B."""
    return [dY, dY]


@gradient("Sub")
def sub(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = A - B."""
    return [dY, op("Neg", dY)]


@gradient("Mul")
def mul(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = A B."""
    A, B = node.inputs
    return [op("Mul", dY, B), op("Mul", dY, A)]


@gradient("Div")
def div(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = A / B: dA = dY / B, dB = -dA Y."""
    dA = op("Div", dY, node.inputs[1])
    return [dA, op("Neg", op("Mul", dA, node.outputs[0]))]


@gradient("Relu")
def relu(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = max(X, 0): dX = dY where Y > 0.

    The mask reads Y, not X, so that X's buffer can be reused. Greater + Where was measured faster
    than Sign + Mul, and leaves no NaN behind where dY is infinite.
    """
    positive = op("Greater", node.outputs[0], op.like(dY, 0))
    return [op("Where", positive, dY, op.like(dY, 0))]


@gradient("Tanh")
def tanh(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = tanh X: dX = dY (1 - Y^2)."""
    Y = node.outputs[0]
    return [op("Mul", dY, op("Sub", op.like(dY, 1), op("Mul", Y, Y)))]


@gradient("Sigmoid")
def sigmoid(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = 1 / (1 + exp(-X)): dX = dY Y (1 - Y)."""
    Y = node.outputs[0]
    return [op("Mul", dY, op("Mul", Y, op("Sub", op.like(dY, 1), Y)))]
