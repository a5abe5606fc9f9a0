"""Element-wise operators with broadcasting, in whatever order of axes their operands have."""

from collections.abc import Callable
from functools import reduce
from math import prod

import numpy as np

from export.graph.node import GraphNode
from export.tflite.lower import Lowering, Order, lowers, natural

BINARY = {
    "Add": ("ADD", "Add"),
    "Sub": ("SUB", "Sub"),
    "Mul": ("MUL", "Mul"),
    "Div": ("DIV", "Div"),
    "Pow": ("POW", "Pow"),
    "Max": ("MAXIMUM", "MaximumMinimum"),
    "Min": ("MINIMUM", "MaximumMinimum"),
    "Sum": ("ADD", "Add"),
}
COMPARISONS = {
    "Equal": ("EQUAL", "Equal"),
    "Greater": ("GREATER", "Greater"),
    "GreaterOrEqual": ("GREATER_EQUAL", "GreaterEqual"),
    "Less": ("LESS", "Less"),
    "LessOrEqual": ("LESS_EQUAL", "LessEqual"),
    "And": ("LOGICAL_AND", "LogicalAnd"),
    "Or": ("LOGICAL_OR", "LogicalOr"),
}
UNARY = {
    "Abs": ("ABS", "Abs"),
    "Cos": ("COS", "Cos"),
    "Elu": ("ELU", None),
    "Exp": ("EXP", "Exp"),
    "HardSwish": ("HARD_SWISH", "HardSwish"),
    "Log": ("LOG", None),
    "Neg": ("NEG", "Neg"),
    "Not": ("LOGICAL_NOT", "LogicalNot"),
    "Relu": ("RELU", None),
    "Sigmoid": ("LOGISTIC", None),
    "Sin": ("SIN", None),
    "Sqrt": ("SQRT", None),
    "Tanh": ("TANH", None),
}


def common_order(to: Lowering, node: GraphNode) -> Order:
    """The order to compute in: that of a full-sized operand, one that is not ONNX's own before others."""
    shape = to.shape(node.outputs[0])
    full = [x for x in node.inputs if x and to.constant(x) is None and len(to.shape(x)) == len(shape)]
    full.sort(key=lambda x: -prod(to.shape(x)))
    orders = [to.order(x) for x in full if prod(to.shape(x)) == prod(to.shape(full[0]))]
    return next((order for order in orders if order != natural(len(shape))), natural(len(shape)))


@lowers(*BINARY)
def binary(to: Lowering, node: GraphNode) -> None:
    """Two operands, or many from left to right."""
    operator, options = BINARY[node.op_type]
    Y, order = node.outputs[0], common_order(to, node)
    shape = to.shape(Y)
    operands = [to.aligned(x, len(shape), order) for x in node.inputs]

    def of(a: int, b: int) -> int:
        wide = np.broadcast_shapes(to.graph.shape(a), to.graph.shape(b))
        return to.graph.emit(operator, [a, b], wide, to.dtype(Y), options=options)

    to.keep(Y, reduce(of, operands), order)


@lowers(*COMPARISONS)
def comparison(to: Lowering, node: GraphNode) -> None:
    """Truth values. A mask computed from them is as fast as arithmetic that avoids them (0.21 ms, 64x28x28x16)."""
    operator, options = COMPARISONS[node.op_type]
    Y, order = node.outputs[0], common_order(to, node)
    operands = [to.aligned(x, len(order), order) for x in node.inputs]
    shape = [to.shape(Y)[axis] for axis in order]
    to.keep(Y, to.graph.emit(operator, operands, shape, np.bool_, options=options), order)


@lowers(*UNARY)
def unary(to: Lowering, node: GraphNode) -> None:
    """One operand, one result of its shape."""
    operator, options = UNARY[node.op_type]
    _map(to, node, lambda x: to.graph.emit(operator, [x], to.graph.shape(x), to.dtype(node.inputs[0]), options=options))


@lowers("LeakyRelu")
def leaky_relu(to: Lowering, node: GraphNode) -> None:
    """max(x, alpha x)."""
    alpha = node.attr("alpha", 0.01)
    _map(to, node, lambda x: to.graph.emit("LEAKY_RELU", [x], to.graph.shape(x), options="LeakyRelu", alpha=alpha))


@lowers("Reciprocal")
def reciprocal(to: Lowering, node: GraphNode) -> None:
    """1 / x."""
    one = to.graph.constant(1.0, np.float32)
    _map(to, node, lambda x: to.graph.emit("DIV", [one, x], to.graph.shape(x), options="Div"))


@lowers("Identity")
def identity(to: Lowering, node: GraphNode) -> None:
    """The same value under another name."""
    to.alias(node.outputs[0], node.inputs[0], lambda order: order)


@lowers("Cast", "CastLike")
def cast(to: Lowering, node: GraphNode) -> None:
    """A change of type."""
    dtype = to.dtype(node.outputs[0])
    _map(to, node, lambda x: to.graph.emit("CAST", [x], to.graph.shape(x), dtype, options="Cast"))


@lowers("Clip")
def clip(to: Lowering, node: GraphNode) -> None:
    """Not below the second input, not above the third."""

    def of(x: int) -> int:
        for operator, i in (("MAXIMUM", 1), ("MINIMUM", 2)):
            if node.given(i):
                bound = to.tensor(node.inputs[i])
                x = to.graph.emit(operator, [x, bound], to.graph.shape(x), options="MaximumMinimum")
        return x

    _map(to, node, of)


@lowers("Where")
def where(to: Lowering, node: GraphNode) -> None:
    """A choice by element."""
    order = common_order(to, node)
    shape = [to.shape(node.outputs[0])[axis] for axis in order]
    operands = [to.aligned(x, len(order), order) for x in node.inputs]
    chosen = to.graph.emit("SELECT_V2", operands, shape, to.dtype(node.outputs[0]), options="SelectV2")
    to.keep(node.outputs[0], chosen, order)


def _map(to: Lowering, node: GraphNode, function: Callable[[int], int]) -> None:
    X, Y = node.inputs[0], node.outputs[0]
    order = to.order(X)
    to.keep(Y, function(to.tensor(X, order)), order)
