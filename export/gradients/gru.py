"""Gradient of GRU (Cho et al. 2014). Shapes are those of `_recurrence`; o is the element-wise product.

Forward, one step from h to h', with the gates in ONNX's order z, r, c and the biases left out of the notation:

  z  = sigmoid(x W_z + h R_z)                update gate, (N, H)
  r  = sigmoid(x W_r + h R_r)                reset gate, (N, H)
  c  = tanh(x W_c + r o (h R_c))             candidate with linear_before_reset, as in cuDNN and PyTorch
  c  = tanh(x W_c + (r o h) R_c)             candidate without it
  h' = (1 - z) o c + z o h

Backward, from the adjoint dh of h', with az, ar, ac the gates before their activations:

  daz = dh o (h - c) o z (1 - z)
  dac = dh o (1 - z) o (1 - c^2)
  dar = dac o (h R_c) o r (1 - r)            with linear_before_reset
  dar = (dac R_c^T) o h o r (1 - r)          without it
  dh of the step before = dh o z + daz R_z^T + dar R_r^T + the part through the candidate:
        (dac o r) R_c^T                      with linear_before_reset
        (dac R_c^T) o r                      without it
"""

from dataclasses import dataclass

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


@gradient("GRU")
def gru(op: GraphBuilder, node: GraphNode, dY: Value | None, dY_h: Value | None = None) -> Adjoints:
    """All three gates of all steps at once, then the state's adjoint step by step."""
    check_supported(node, ["Sigmoid", "Tanh"])
    late = bool(node.attr("linear_before_reset", 0))
    return each_direction(op, node, [dY, dY_h], lambda direction: _back(op, direction, late))


@dataclass(frozen=True)
class Weights:
    """The weights of the gates z, r, c."""

    W: list[Value]
    """(I, H) each"""
    R: list[Value]
    """(H, H) each"""
    input_bias: list[Value | None]
    recurrent_bias: list[Value | None]


@dataclass(frozen=True)
class GruGates:
    """The gates of all steps, (T, N, H) each."""

    z: Value
    r: Value
    c: Value
    fed: Value
    """what R_c multiplies: h with linear_before_reset, otherwise r o h"""
    inner: Value
    """fed R_c, with its bias"""


@dataclass(frozen=True)
class StepAdjoints:
    """Adjoints of all steps, (T, N, H) each."""

    daz: Value
    dar: Value
    dac: Value
    dinner: Value
    """of fed R_c"""
    dh_0: Value
    """(N, H)"""


def _back(op: GraphBuilder, d: Direction, late: bool) -> DirectionGradient:
    weights = _cut(op, d)
    gates = _gates(op, d, weights, late)
    adjoints = _through_time(op, d, weights, gates, late)
    into_W = [adjoints.daz, adjoints.dar, adjoints.dac]
    into_R = [adjoints.daz, adjoints.dar, adjoints.dinner]
    dW = [product_over_time(op, a, d.X) for a in into_W]
    dR = [product_over_time(op, a, s) for a, s in zip(into_R, [d.before, d.before, gates.fed], strict=True)]
    dB = [op.sum(a, [0, 1]) for a in (*into_W, *into_R)]
    dX = op("MatMul", op("Concat", *into_W, axis=2), d.W)
    W, R, B = (op("Concat", *parts, axis=0) for parts in (dW, dR, dB))
    return DirectionGradient(dW=W, dR=R, dB=B, states=(adjoints.dh_0,), dX=dX)


def _cut(op: GraphBuilder, d: Direction) -> Weights:
    H = op.sample(d.R)[0]
    W = split_equally(op, op("Transpose", d.W, perm=[1, 0]), 3, axis=1)
    R = split_equally(op, op("Transpose", d.R, perm=[1, 0]), 3, axis=1)
    if d.B is None:
        return Weights(W, R, [None] * 3, [None] * 3)
    biases = op.all("Split", d.B, op.const([H] * 6), outputs=6, axis=0)
    return Weights(W, R, list(biases[:3]), list(biases[3:]))


def _gates(op: GraphBuilder, d: Direction, weights: Weights, late: bool) -> GruGates:
    z = _update_gate(op, d, weights)
    r = _reset_gate(op, d, weights)
    fed = d.before if late else op("Mul", r, d.before)
    inner = _plus(op, op("MatMul", fed, weights.R[2]), weights.recurrent_bias[2])
    return GruGates(z, r, _candidate(op, d, weights, op("Mul", r, inner) if late else inner), fed, inner)


def _update_gate(op: GraphBuilder, d: Direction, weights: Weights) -> Value:
    """z = sigmoid(x W_z + h R_z)."""
    return _sigmoid_gate(op, d, weights, 0)


def _reset_gate(op: GraphBuilder, d: Direction, weights: Weights) -> Value:
    """r = sigmoid(x W_r + h R_r)."""
    return _sigmoid_gate(op, d, weights, 1)


def _sigmoid_gate(op: GraphBuilder, d: Direction, weights: Weights, i: int) -> Value:
    products = op("Add", op("MatMul", d.X, weights.W[i]), op("MatMul", d.before, weights.R[i]))
    return op("Sigmoid", _plus(op, products, weights.input_bias[i], weights.recurrent_bias[i]))


def _candidate(op: GraphBuilder, d: Direction, weights: Weights, recurrent: Value) -> Value:
    """c = tanh(x W_c + the recurrent part)."""
    return op("Tanh", op("Add", _plus(op, op("MatMul", d.X, weights.W[2]), weights.input_bias[2]), recurrent))


def _through_time(op: GraphBuilder, d: Direction, weights: Weights, gates: GruGates, late: bool) -> StepAdjoints:
    """The backward equations, from the last step to the first."""
    T = steps_of(op, d.X)
    # What a step's adjoint is multiplied with does not depend on it: all steps at once.
    per_dh_c = op("Mul", op("Sub", op.like(gates.z, 1), gates.z), tanh_slope(op, gates.c))
    per_dh_z = op("Mul", op("Sub", d.before, gates.c), sigmoid_slope(op, gates.z))
    reset_slope = sigmoid_slope(op, gates.r)
    per_r = op("Mul", gates.inner if late else d.before, reset_slope)
    Rz_T, Rr_T, Rc_T = (op("Transpose", part, perm=[1, 0]) for part in weights.R)
    slope_c, slope_z, slope_r, r, z, dY = (
        unstack(op, value, T) for value in (per_dh_c, per_dh_z, per_r, gates.r, gates.z, d.dY)
    )
    Rzr_T = op("Concat", Rz_T, Rr_T, axis=0)

    rows: list[tuple[Value, Value, Value, Value]] = []
    dh_before: Value | None = None
    for t in reversed(range(T)):
        dh = dY[t] if dh_before is None else op("Add", dY[t], dh_before)
        dac, daz = op("Mul", dh, slope_c[t]), op("Mul", dh, slope_z[t])
        if late:
            dinner = op("Mul", dac, r[t])
            dar = op("Mul", dac, slope_r[t])
            through_candidate = op("MatMul", dinner, Rc_T)
        else:
            dinner = dac
            dfed = op("MatMul", dac, Rc_T)
            dar = op("Mul", dfed, slope_r[t])
            through_candidate = op("Mul", dfed, r[t])
        through_gates = op("MatMul", op("Concat", daz, dar, axis=1), Rzr_T)
        dh_before = op("Sum", op("Mul", dh, z[t]), through_candidate, through_gates)
        rows.append((daz, dar, dac, dinner))
    assert dh_before is not None
    daz, dar, dac, dinner = (stack(op, list(column)) for column in zip(*rows[::-1], strict=True))
    return StepAdjoints(daz, dar, dac, dinner, dh_before)


def _plus(op: GraphBuilder, value: Value, *biases: Value | None) -> Value:
    for bias in biases:
        value = value if bias is None else op("Add", value, bias)
    return value
