"""Gradient of LSTM (Hochreiter and Schmidhuber 1997; forget gate of Gers et al. 2000).

Shapes are those of `_recurrence`; * is the element-wise product.

Forward, one step from (h, c) to (h', c'), with the gates in ONNX's order i, o, f, g and the biases left out of the
notation:

  i  = sigmoid(x W_i + h R_i)                input gate, (N, H)
  o  = sigmoid(x W_o + h R_o)                output gate
  f  = sigmoid(x W_f + h R_f)                forget gate
  g  = tanh(x W_g + h R_g)                   cell input
  c' = f * c + i * g
  h' = o * tanh c'

Backward, from the adjoints dh of h' and dc of c', with ai, ao, af, ag the gates before their activations:

  dc  = dc + dh * o * (1 - tanh^2 c')
  dai = dc * g * i (1 - i)
  dao = dh * tanh c' * o (1 - o)
  daf = dc * c * f (1 - f)
  dag = dc * i * (1 - g^2)
  of the step before: dc * f, and dh = dai R_i^T + dao R_o^T + daf R_f^T + dag R_g^T

The node does not output the cell states of all steps; they are computed again from the gates.
"""

from dataclasses import dataclass

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.gradients._recurrence import (
    Direction,
    DirectionGradient,
    check_supported,
    each_direction,
    product_over_time,
    sigmoid_slope,
    split_equally,
    stack,
    steps_of,
    tanh_slope,
    unstack,
)


@gradient("LSTM")
def lstm(
    op: GraphBuilder, node: GraphNode, dY: Value | None, dY_h: Value | None = None, dY_c: Value | None = None
) -> Adjoints:
    """All four gates of all steps at once, then the adjoints of both states step by step."""
    check_supported(node, ["Sigmoid", "Tanh", "Tanh"])
    if node.attr("input_forget", 0):
        raise ExportError(f"node {node}: input_forget has no gradient rule")
    return each_direction(op, node, [dY, dY_h, dY_c], lambda direction: _back(op, direction))


@dataclass(frozen=True)
class LstmGates:
    """The gates of all steps, (T, N, H) each."""

    i: Value
    o: Value
    f: Value
    g: Value


@dataclass(frozen=True)
class Cells:
    """The cell states, (T, N, H) each."""

    before: Value
    """c, which each step starts from"""
    tanh_after: Value
    """tanh c'"""


def _back(op: GraphBuilder, d: Direction) -> DirectionGradient:
    gates = _gates(op, d)
    forget = unstack(op, gates.f, steps_of(op, d.X))
    cells = _cells(op, d, gates, forget)
    da, dh_0, dc_0 = _through_time(op, d, gates, cells, forget)
    db = op.sum(da, [0, 1])
    return DirectionGradient(
        dW=product_over_time(op, da, d.X),
        dR=product_over_time(op, da, d.before),
        dB=op("Concat", db, db, axis=0),
        states=(dh_0, dc_0),
        dX=op("MatMul", da, d.W),
    )


def _gates(op: GraphBuilder, d: Direction) -> LstmGates:
    """One product for all gates; the three sigmoids come first in ONNX's order."""
    H = op.sample(d.R)[0]
    W, R = op("Transpose", d.W, perm=[1, 0]), op("Transpose", d.R, perm=[1, 0])
    sums = op("Add", op("MatMul", d.X, W), op("MatMul", d.before, R))
    if d.B is not None:
        sums = op("Add", sums, op("Add", *op.all("Split", d.B, op.const([4 * H] * 2), outputs=2, axis=0)))
    sigmoids, last = op.all("Split", sums, op.const([3 * H, H]), outputs=2, axis=2)
    i, o, f = split_equally(op, op("Sigmoid", sigmoids), 3, axis=2)
    return LstmGates(i, o, f, op("Tanh", last))


def _cells(op: GraphBuilder, d: Direction, gates: LstmGates, forget: list[Value]) -> Cells:
    """c' = f * c + i * g, from the first step to the last."""
    gained = unstack(op, op("Mul", gates.i, gates.g), len(forget))
    cells = [d.c_0]
    for f, gain in zip(forget, gained, strict=True):
        cells.append(op("Add", op("Mul", f, cells[-1]), gain))
    return Cells(stack(op, cells[:-1]), op("Tanh", stack(op, cells[1:])))


def _cell_slope(op: GraphBuilder, gates: LstmGates, cells: Cells) -> Value:
    """What dh is multiplied with for dc: o * (1 - tanh^2 c')."""
    return op("Mul", gates.o, tanh_slope(op, cells.tanh_after))


def _output_gate_slope(op: GraphBuilder, gates: LstmGates, cells: Cells) -> Value:
    """What dh is multiplied with for dao: tanh c' * o (1 - o)."""
    return op("Mul", cells.tanh_after, sigmoid_slope(op, gates.o))


def _input_gate_slope(op: GraphBuilder, gates: LstmGates) -> Value:
    """What dc is multiplied with for dai: g * i (1 - i)."""
    return op("Mul", gates.g, sigmoid_slope(op, gates.i))


def _forget_gate_slope(op: GraphBuilder, gates: LstmGates, cells: Cells) -> Value:
    """What dc is multiplied with for daf: c * f (1 - f)."""
    return op("Mul", cells.before, sigmoid_slope(op, gates.f))


def _cell_input_slope(op: GraphBuilder, gates: LstmGates) -> Value:
    """What dc is multiplied with for dag: i * (1 - g^2)."""
    return op("Mul", gates.i, tanh_slope(op, gates.g))


def _through_time(
    op: GraphBuilder, d: Direction, gates: LstmGates, cells: Cells, forget: list[Value]
) -> tuple[Value, Value, Value]:
    """The backward equations, from the last step to the first.

    Returns:
        (da, dh_0, dc_0): the adjoints of all gates before their activations, (T, N, 4 H), and of the first states,
        (N, H) each.
    """
    T = len(forget)
    # What a step's adjoints are multiplied with does not depend on them: all steps at once.
    per_dh_c, per_dh_o = _cell_slope(op, gates, cells), _output_gate_slope(op, gates, cells)
    per_dc = [_input_gate_slope(op, gates), _forget_gate_slope(op, gates, cells), _cell_input_slope(op, gates)]
    slope_c, slope_o, slope_ifg, dY = (
        unstack(op, value, T) for value in (per_dh_c, per_dh_o, op("Concat", *per_dc, axis=2), d.dY)
    )

    steps: list[Value] = []
    dh_before, dc_before = None, d.dY_c
    for t in reversed(range(T)):
        dh = dY[t] if dh_before is None else op("Add", dY[t], dh_before)
        through_h = op("Mul", dh, slope_c[t])
        dc = through_h if dc_before is None else op("Add", dc_before, through_h)
        dai, daf, dag = split_equally(op, op("Mul", op("Concat", dc, dc, dc, axis=1), slope_ifg[t]), 3, axis=1)
        da = op("Concat", dai, op("Mul", dh, slope_o[t]), daf, dag, axis=1)
        steps.append(da)
        dh_before, dc_before = op("MatMul", da, d.R), op("Mul", dc, forget[t])
    assert dh_before is not None
    assert dc_before is not None
    return stack(op, steps[::-1]), dh_before, dc_before
