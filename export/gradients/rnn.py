"""Gradient of RNN (Elman 1990). Shapes are those of `_recurrence`, with one gate.

Forward, one step: h' = tanh(x W + h R). Backward, from the adjoint dh of h':

  da = dh o (1 - h'^2)
  dh of the step before = da R^T
"""

from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.gradients._recurrence import (
    Direction,
    DirectionGradient,
    check_supported,
    each_direction,
    product_over_time,
    stack,
    steps_of,
    tanh_slope,
    unstack,
)


@gradient("RNN")
def rnn(op: GraphBuilder, node: GraphNode, dY: Value | None, dY_h: Value | None = None) -> Adjoints:
    """The state's adjoint step by step, then one product each over all steps."""
    check_supported(node, ["Tanh"])
    return each_direction(op, node, [dY, dY_h], lambda direction: _back(op, direction))


def _back(op: GraphBuilder, d: Direction) -> DirectionGradient:
    steps = steps_of(op, d.X)
    W_T, R_T = (op("Transpose", weight, perm=[1, 0]) for weight in (d.W, d.R))
    inner = op("Add", op("MatMul", d.X, W_T), op("MatMul", d.before, R_T))
    if d.B is not None:
        units = op.sample(d.R)[0]
        inner = op("Sum", inner, *op.all("Split", d.B, op.const([units] * 2), outputs=2, axis=0))
    slopes, dYs = unstack(op, tanh_slope(op, op("Tanh", inner)), steps), unstack(op, d.dY, steps)
    adjoints: list[Value] = []
    dh_before: Value | None = None
    for t in reversed(range(steps)):
        dh = dYs[t] if dh_before is None else op("Add", dYs[t], dh_before)
        adjoints.append(op("Mul", dh, slopes[t]))
        dh_before = op("MatMul", adjoints[-1], d.R)
    assert dh_before is not None
    da = stack(op, adjoints[::-1])
    db = op.sum(da, [0, 1])
    return DirectionGradient(
        dW=product_over_time(op, da, d.X),
        dR=product_over_time(op, da, d.before),
        dB=op("Concat", db, db, axis=0),
        states=(dh_before,),
        dX=op("MatMul", da, d.W),
    )
