"""Gradients of trigonometric and hyperbolic functions, and of their inverses. All shapes are X's."""

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("Sin")
def sin(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sin X."""
    return [op("Mul", dY, op("Cos", node.inputs[0]))]


@gradient("Cos")
def cos(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = cos X."""
    return [op("Neg", op("Mul", dY, op("Sin", node.inputs[0])))]


@gradient("Tan")
def tan(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = tan X: y' = 1 + Y^2."""
    Y = node.outputs[0]
    return [op("Mul", dY, op("Add", op("Mul", Y, Y), op.like(dY, 1)))]


@gradient("Sinh")
def sinh(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sinh X."""
    return [op("Mul", dY, op("Cosh", node.inputs[0]))]


@gradient("Cosh")
def cosh(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = cosh X."""
    return [op("Mul", dY, op("Sinh", node.inputs[0]))]


@gradient("Asin")
def asin(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = asin X: y' = 1 / sqrt(1 - X^2)."""
    return [op("Div", dY, op("Sqrt", op("Sub", op.like(dY, 1), _square(op, node))))]


@gradient("Acos")
def acos(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = acos X: y' = -1 / sqrt(1 - X^2)."""
    return [op("Neg", op("Div", dY, op("Sqrt", op("Sub", op.like(dY, 1), _square(op, node)))))]


@gradient("Atan")
def atan(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = atan X: y' = 1 / (1 + X^2)."""
    return [op("Div", dY, op("Add", op.like(dY, 1), _square(op, node)))]


@gradient("Asinh")
def asinh(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = asinh X: y' = 1 / sqrt(X^2 + 1)."""
    return [op("Div", dY, op("Sqrt", op("Add", _square(op, node), op.like(dY, 1))))]


@gradient("Acosh")
def acosh(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = acosh X: y' = 1 / sqrt(X^2 - 1)."""
    return [op("Div", dY, op("Sqrt", op("Sub", _square(op, node), op.like(dY, 1))))]


@gradient("Atanh")
def atanh(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = atanh X: y' = 1 / (1 - X^2)."""
    return [op("Div", dY, op("Sub", op.like(dY, 1), _square(op, node)))]


def _square(op: GraphBuilder, node: GraphNode) -> Value:
    return op("Mul", node.inputs[0], node.inputs[0])
