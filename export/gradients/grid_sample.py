"""Gradient of GridSample (Jaderberg, Simonyan, Zisserman, Kavukcuoglu 2015, section 3.3).

X (N, C, *S), grid (N, *O, d) -> Y (N, C, *O). With P points and, in each, the product over the axes of the cells that
count there ("taps": two for linear, one for nearest), everything flat:

  Y[n, c, p]  = sum over taps t of w[n, t, p] X[n, c, i[n, t, p]]
  dX[n, c, i] = sum over all (t, p) that read cell i of w[n, t, p] dY[n, c, p]
  dw[n, t, p] = sum over c of X[n, c, i[n, t, p]] dY[n, c, p]

and w is a product of one factor an axis, whose slope in the coordinate gives the gradient of the grid.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@dataclass(frozen=True)
class Tap:
    """Along one axis, a cell that counts in each point; all are (N, P)."""

    cell: Value
    """its number, within the axis"""
    weight: Value
    slope: Value | None
    """of the weight, in the grid; None where it is 0"""


@gradient("GridSample")
def grid_sample(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Linear or nearest, with zeros, the border or reflections outside the image."""
    X, grid = node.inputs
    linear = {"bilinear": True, "linear": True, "nearest": False}.get(node.attr("mode", "linear"))
    if linear is None:
        raise ExportError(f"node {node}: mode={node.attr('mode', '')} has no gradient rule, linear and nearest have")
    C, *S = op.sample(X)
    points = op("Reshape", grid, op.const([0, -1, len(S)]))
    axes = [
        # The last number of a point belongs to the first axis.
        _taps(op, node, op("Gather", points, op.const(len(S) - 1 - axis), axis=2), size, linear)
        for axis, size in enumerate(S)
    ]
    choices = list(product(*axes))
    strides = [prod(S[axis + 1 :]) for axis in range(len(S))]
    cells = op("Concat", *(_flat(op, choice, strides) for choice in choices), axis=1)  # (N, T P)
    flat = op("Reshape", dY, op.const([0, C, -1]))
    adjoint = op("Concat", *[flat] * len(choices), axis=2) if len(choices) > 1 else flat  # (N, C, T P)
    read = op.expanded(op("Unsqueeze", cells, op.const([1])), adjoint)
    return [
        _image(op, X, choices, read, adjoint) if node.wanted[0] else None,
        _grid(op, X, grid, choices, read, adjoint) if node.wanted[1] and linear else None,
    ]


def _image(op: GraphBuilder, X: Value, choices: list[tuple[Tap, ...]], read: Value, adjoint: Value) -> Value:
    weights = op("Concat", *(_product(op, [tap.weight for tap in choice]) for choice in choices), axis=1)
    rows = op("Mul", adjoint, op("Unsqueeze", weights, op.const([1])))
    C, *S = op.sample(X)
    zeros = op("Reshape", op.expanded(op.like(adjoint, 0), X), op.const([0, C, prod(S)]))
    added = op("ScatterElements", zeros, read, rows, axis=2, reduction="add")
    return op.assume(op("Reshape", added, op.sizes(X)), X)


def _grid(
    op: GraphBuilder, X: Value, grid: Value, choices: list[tuple[Tap, ...]], read: Value, adjoint: Value
) -> Value:
    C, *S = op.sample(X)
    values = op("GatherElements", op("Reshape", X, op.const([0, C, prod(S)])), read, axis=2)
    dw = op.sum(op("Mul", values, adjoint), [1])  # (N, T P)
    slopes = []
    for axis in range(len(S)):
        factors = [
            _product(op, [tap.slope or tap.weight if i == axis else tap.weight for i, tap in enumerate(choice)])
            for choice in choices
        ]
        terms = op("Mul", dw, op("Concat", *factors, axis=1))
        slopes.append(op.sum(op("Reshape", terms, op.const([0, len(choices), -1])), [1], keepdims=True))
    stacked = op("Transpose", op("Concat", *slopes[::-1], axis=1), perm=[0, 2, 1])
    return op.assume(op("Reshape", stacked, op.sizes(grid)), grid)


def _taps(op: GraphBuilder, node: GraphNode, u: Value, size: int, linear: bool) -> list[Tap]:
    """The cells of one axis; u runs from -1 to 1, from the middle or the edge of the first cell to that of the last."""
    corners, padding = node.attr("align_corners", 0), node.attr("padding_mode", "zeros")
    scale = (size - 1) / 2 if corners else size / 2
    x = op("Add", op("Mul", u, op.like(u, scale)), op.like(u, (size - 1) / 2))
    slope = op("Add", op("Mul", u, op.like(u, 0)), op.like(u, scale))
    if not linear:
        x = op("Round", x)
    if padding == "reflection" and not (corners and size == 1):
        x, sign = _reflected(op, x, 0 if corners else -0.5, size - 1 if corners else size)
        slope = op("Mul", slope, sign)
    zero, last = op.like(u, 0), op.like(u, size - 1)
    if padding != "zeros":
        inside = op("And", op("GreaterOrEqual", x, zero), op("LessOrEqual", x, last))
        slope = op("Where", inside, slope, zero)
        x = op("Clip", x, zero, last)
    if not linear:
        return [_tap(op, x, op("Add", op("Mul", u, zero), op.like(u, 1)), None, last)]
    low = op("Floor", x)
    high, part = op("Add", low, op.like(u, 1)), op("Sub", x, low)
    return [
        _tap(op, low, op("Sub", op.like(u, 1), part), op("Neg", slope), last),
        _tap(op, high, part, slope, last),
    ]


def _tap(op: GraphBuilder, cell: Value, weight: Value, slope: Value | None, last: Value) -> Tap:
    """A cell outside the image counts nothing."""
    zero = op.like(cell, 0)
    inside = op("And", op("GreaterOrEqual", cell, zero), op("LessOrEqual", cell, last))
    number = op("Cast", op("Clip", cell, zero, last), to=op.element(op.const(0)))
    return Tap(number, op("Where", inside, weight, zero), slope and op("Where", inside, slope, zero))


def _reflected(op: GraphBuilder, x: Value, first: float, span: float) -> tuple[Value, Value]:
    """A coordinate thrown back at both ends of an interval as often as needed, and the sign of its slope."""
    away = op("Sub", x, op.like(x, first))
    rest = op("Mod", op("Abs", away), op.like(x, 2 * span), fmod=1)
    forth = op("LessOrEqual", rest, op.like(x, span))
    back = op("Sub", op.like(x, 2 * span), rest)
    sign = op("Mul", op("Sign", away), op("Where", forth, op.like(x, 1), op.like(x, -1)))
    return op("Add", op("Where", forth, rest, back), op.like(x, first)), sign


def _flat(op: GraphBuilder, taps: tuple[Tap, ...], strides: list[int]) -> Value:
    """The numbers of the cells in the flat image."""
    parts = (op("Mul", tap.cell, op.const(stride)) for tap, stride in zip(taps, strides, strict=True))
    return reduce(lambda total, part: op("Add", total, part), parts)


def _product(op: GraphBuilder, factors: list[Value]) -> Value:
    return reduce(lambda result, factor: op("Mul", result, factor), factors)
