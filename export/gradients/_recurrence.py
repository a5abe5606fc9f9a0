"""What the gradients of GRU, LSTM and RNN share: one direction at a time, back through time.

Shapes, with T steps, N rows, I inputs, H units, g gates (3, 4 and 1), D directions:

  X (T, N, I)   W (D, g H, I)   R (D, g H, H)   B (D, 2 g H)   h_0, c_0 (D, N, H)
  Y (T, D, N, H)   Y_h, Y_c (D, N, H)

The forward node stays one fused kernel. From the states that it outputs, every gate of every step can be computed at
once. Only the adjoint of the state goes step by step (T is known, so the steps are written out), and the gradients of
W, R and B are one product each over all steps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Size, Value, macs

LONGEST = 1024
"""Steps; each costs about ten nodes."""


@dataclass(frozen=True)
class Direction:
    """One direction's operands and adjoints, everything in the order in which it reads time."""

    W: Value
    """(g H, I)"""
    R: Value
    """(g H, H)"""
    B: Value | None
    """(2 g H,): the input biases of all gates, then their recurrent biases"""
    X: Value
    """(T, N, I)"""
    before: Value
    """(T, N, H): the state h that each step starts from"""
    dY: Value
    """(T, N, H): the adjoint of each step's state from outside the recurrence"""
    c_0: Value
    """(N, H): the first cell state, for LSTM"""
    dY_c: Value | None
    """(N, H): the adjoint of the last cell state from outside, for LSTM"""


@dataclass(frozen=True)
class DirectionGradient:
    """The adjoints of one direction's operands, in the shapes of `Direction`."""

    dW: Value
    dR: Value
    dB: Value
    states: tuple[Value, ...]
    """(N, H) each: of h_0, and for LSTM of c_0"""
    dX: Value


def each_direction(
    op: GraphBuilder, node: GraphNode, dYs: Sequence[Value | None], back: Callable[[Direction], DirectionGradient]
) -> Adjoints:
    """Differentiate every direction on its own and put the results together.

    Args:
        op: the graph to append to.
        node: the GRU, LSTM or RNN.
        dYs: the adjoints of Y, Y_h and, for LSTM, Y_c.
        back: the operator's own equations.

    Returns:
        One adjoint per input of the node.
    """
    X, _, R = node.inputs[:3]
    T, H = steps_of(op, X), op.sample(R)[1]
    if T > LONGEST:
        raise ExportError(f"node {node}: {T} steps are written out one by one; at most {LONGEST} (shorten the window)")
    zeros = op("Mul", _any_state(op, node.outputs[0], H), op.like(X, 0))
    gradients, dXs = [], []
    for d, backwards in enumerate(DIRECTIONS[node.attr("direction", "forward")]):
        gradient = back(_direction(op, node, dYs, d, backwards, zeros))
        gradients.append(gradient)
        dXs.append(_reversed(op, gradient.dX, T) if backwards else gradient.dX)
    dX = dXs[0] if len(dXs) == 1 else op("Add", *dXs)
    dW, dR, dB = (stack(op, list(same)) for same in zip(*((g.dW, g.dR, g.dB) for g in gradients), strict=True))
    states = [stack(op, list(same)) for same in zip(*(g.states for g in gradients), strict=True)]
    return [dX, dW, dR, dB, None, *states, None, None][: len(node.inputs)]


def _direction(
    op: GraphBuilder, node: GraphNode, dYs: Sequence[Value | None], d: int, backwards: bool, zeros: Value
) -> Direction:
    """What direction `d` reads, with time reversed if it reads time backwards."""
    X, W, R = node.inputs[:3]
    T = steps_of(op, X)
    h_0, c_0 = (_at(op, node.inputs[i], d) if node.given(i) else zeros for i in (5, 6))
    Y = op("Squeeze", _slice(op, node.outputs[0], d, 1), op.const([1]))
    dY = None if dYs[0] is None else op("Squeeze", _slice(op, dYs[0], d, 1), op.const([1]))
    if backwards:
        X, Y = _reversed(op, X, T), _reversed(op, Y, T)
        dY = None if dY is None else _reversed(op, dY, T)
    dY_h, dY_c = (None if dY_last is None else _at(op, dY_last, d) for dY_last in [*dYs[1:], None][:2])
    return Direction(
        W=_at(op, W, d),
        R=_at(op, R, d),
        B=_at(op, node.inputs[3], d) if node.given(3) else None,
        X=X,
        before=_states_before(op, h_0, Y, T),
        dY=_adjoint_from_outside(op, Y, dY, dY_h, T),
        c_0=c_0,
        dY_c=dY_c,
    )


DIRECTIONS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
"""For each direction of the attribute: whether it reads time backwards."""


def check_supported(node: GraphNode, activations: list[str]) -> None:
    """Refuse what the rules do not cover. activations: the operator's defaults for one direction."""
    for name in ("activations", "activation_alpha", "activation_beta", "clip", "layout"):
        value = node.attr(name, None)
        shown = [v.decode() for v in value] if name == "activations" and value else value
        if value and not (name == "activations" and shown == activations * (len(shown) // len(activations))):
            raise ExportError(f"node {node}: {name}={shown} has no gradient rule; use the operator's defaults")
    if node.given(4):
        raise ExportError(f"node {node}: sequence_lens has no gradient rule; pad the windows to one length")
    if node.given(7):
        raise ExportError(f"node {node}: peepholes have no gradient rule")
    if not node.outputs[0]:
        raise ExportError(f"node {node}: its first output, the states of all steps, is not named")


def steps_of(op: GraphBuilder, X: Value) -> int:
    """T, which must be known."""
    T = op.shape(X)[0]
    if T is None:
        raise ExportError(f"'{X}': the number of time steps must be known; fix the window's length in the model")
    return T


def stack(op: GraphBuilder, values: list[Value]) -> Value:
    """Values of one shape, one after another along a new first axis."""
    wide = [op("Unsqueeze", v, op.const([0])) for v in values]
    return op("Concat", *wide, axis=0) if len(wide) > 1 else wide[0]


def unstack(op: GraphBuilder, value: Value, T: int) -> list[Value]:
    """(T, N, H) -> T times (N, H)."""
    if T == 1:
        return [op("Squeeze", value, op.const([0]))]
    return [op("Squeeze", v, op.const([0])) for v in op.all("Split", value, op.const([1] * T), outputs=T, axis=0)]


def split_equally(op: GraphBuilder, value: Value, parts: int, axis: int) -> list[Value]:
    """Equal parts along one axis, one a gate."""
    size = op.shape(value)[axis]
    assert size is not None
    return op.all("Split", value, op.const([size // parts] * parts), outputs=parts, axis=axis)


def sigmoid_slope(op: GraphBuilder, s: Value) -> Value:
    """s (1 - s), the derivative of s = sigmoid(.)."""
    return op("Mul", s, op("Sub", op.like(s, 1), s))


def tanh_slope(op: GraphBuilder, y: Value) -> Value:
    """1 - y^2, the derivative of y = tanh(.)."""
    return op("Sub", op.like(y, 1), op("Mul", y, y))


def product_over_time(op: GraphBuilder, gates: Value, read: Value) -> Value:
    """Sum over steps and rows of gates^T read: (T, N, a), (T, N, b) -> (a, b)."""
    rows = []
    for value in (gates, read):
        width = op.shape(value)[-1]
        assert width is not None
        rows.append(op("Reshape", value, op.const([-1, width])))
    return op("Gemm", *rows, transA=1)


def _states_before(op: GraphBuilder, h_0: Value, Y: Value, T: int) -> Value:
    """(T, N, H): h_0, then the states of all steps but the last."""
    first = op("Unsqueeze", h_0, op.const([0]))
    return op("Concat", first, _all_but_last(op, Y, T), axis=0) if T > 1 else first


def _adjoint_from_outside(op: GraphBuilder, Y: Value, from_Y: Value | None, from_last: Value | None, T: int) -> Value:
    """(T, N, H): the adjoint of Y, and that of Y_h added to the last step."""
    outside = from_Y if from_Y is not None else op("Mul", Y, op.like(Y, 0))
    if from_last is None:
        return outside
    rest = op("Mul", _all_but_last(op, Y, T), op.like(Y, 0)) if T > 1 else None
    last = op("Unsqueeze", from_last, op.const([0]))
    return op("Add", outside, last if rest is None else op("Concat", rest, last, axis=0))


def _all_but_last(op: GraphBuilder, Y: Value, T: int) -> Value:
    return op("Slice", Y, op.const([0]), op.const([T - 1]), op.const([0]))


def _any_state(op: GraphBuilder, Y: Value, H: int) -> Value:
    """(N, H) of finite numbers; which ones does not matter."""
    first = op("Slice", Y, op.const([0]), op.const([1]), op.const([0]))
    return op("Reshape", _slice(op, first, 0, 1), op.const([-1, H]))


def _slice(op: GraphBuilder, value: Value, at: int, axis: int) -> Value:
    return op("Slice", value, op.const([at]), op.const([at + 1]), op.const([axis]))


def _at(op: GraphBuilder, value: Value, d: int) -> Value:
    """One direction of (D, ...)."""
    return op("Squeeze", _slice(op, value, d, 0), op.const([0]))


def _reversed(op: GraphBuilder, value: Value, T: int) -> Value:
    return op("Slice", value, op.const([T - 1]), op.const([-(2**31)]), op.const([0]), op.const([-1]))


@macs("GRU", "LSTM", "RNN")
def recurrent_macs(node: GraphNode, inputs: Sequence[Size], output: Size) -> int:
    """Two products a gate and step."""
    (T, N, I), (D, gates, H) = inputs[0], inputs[2]
    return T * N * D * gates * (I + H)
