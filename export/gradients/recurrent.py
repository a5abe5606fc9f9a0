"""Gradients of GRU and LSTM, back through time.

Shapes, with T steps, N rows, I inputs, H units, g gates (3 and 4), D directions:

  X (T, N, I)   W (D, g H, I)   R (D, g H, H)   B (D, 2 g H)   h_0, c_0 (D, N, H)
  Y (T, D, N, H)   Y_h, Y_c (D, N, H)

The forward node stays as it is, one fused kernel. The states it shows make every gate of every step
computable at once; only the adjoint of the state goes step by step (T is known, so the steps are
written out), and the gradients of W, R and B are one product each over all steps.
"""

from collections.abc import Callable
from dataclasses import dataclass

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, Node, Value, gradient

LONGEST = 1024
"""Steps; each costs about ten nodes."""


@dataclass(frozen=True)
class Direction:
    """One direction's own view: everything in the order in which it reads time. Weights (g H, ...)."""

    W: Value
    R: Value
    X: Value
    before: Value
    """(T, N, H) the state each step starts from"""
    dY: Value
    """(T, N, H) the adjoint of each step's state, from outside"""


@gradient("GRU")
def gru(op: GraphBuilder, node: Node, dY: Value | None, dYh: Value | None = None) -> Adjoints:
    """Z = s(.), R = s(.) of x W + h R + b; H~ = tanh(x W_h + W_b + R o (h R_h + R_b)); h = (1 - Z) H~ + Z h.

    With linear_before_reset 0 the reset gate multiplies h before the product instead.
    """
    _check(node, 3)
    late = node.attr("linear_before_reset", 0)

    def back(d: Direction, bias: Value | None) -> tuple[list[Value], list[Value], Value]:
        H, T = op.sample(d.R)[0], _steps(op, d.X)
        w = _thirds(op, op("Transpose", d.W, perm=[1, 0]), 3)
        r = _thirds(op, op("Transpose", d.R, perm=[1, 0]), 3)
        wb, rb = _biases(op, bias, 3, H)
        z, reset = (
            op("Sigmoid", _plus(op, op("Add", op("MatMul", d.X, w[i]), op("MatMul", d.before, r[i])), wb[i], rb[i]))
            for i in (0, 1)
        )
        fed = d.before if late else op("Mul", reset, d.before)
        inner = _plus(op, op("MatMul", fed, r[2]), rb[2])
        candidate = op(
            "Tanh", op("Add", _plus(op, op("MatMul", d.X, w[2]), wb[2]), op("Mul", reset, inner) if late else inner)
        )
        one = op.like(z, 1)
        # How much a step's dh moves each gate before its activation; all steps at once.
        to_candidate = op("Mul", op("Sub", one, z), op("Sub", one, op("Mul", candidate, candidate)))
        to_z = op("Mul", op("Sub", d.before, candidate), op("Mul", z, op("Sub", one, z)))
        reset_slope = op("Mul", reset, op("Sub", one, reset))
        to_reset = op("Mul", inner if late else d.before, reset_slope)
        back_r = [op("Transpose", part, perm=[1, 0]) for part in r]
        at = {
            k: _unstack(op, v, T)
            for k, v in {"c": to_candidate, "z": to_z, "r": to_reset, "reset": reset, "keep": z, "dY": d.dY}.items()
        }
        both = op("Concat", *back_r[:2], axis=0)

        dgates: list[list[Value]] = [[], [], []]
        fed_back: list[Value] = []
        carried: Value | None = None
        for t in reversed(range(T)):
            dh = at["dY"][t] if carried is None else op("Add", at["dY"][t], carried)
            dc, dz = op("Mul", dh, at["c"][t]), op("Mul", dh, at["z"][t])
            if late:
                dinner = op("Mul", dc, at["reset"][t])
                dr = op("Mul", dc, at["r"][t])
                through = op("MatMul", dinner, back_r[2])
            else:
                dinner = dc
                dfed = op("MatMul", dc, back_r[2])
                dr = op("Mul", dfed, at["r"][t])
                through = op("Mul", dfed, at["reset"][t])
            gates = op("MatMul", op("Concat", dz, dr, axis=1), both)
            carried = op("Sum", op("Mul", dh, at["keep"][t]), through, gates)
            for held, value in zip(dgates, (dz, dr, dc), strict=True):
                held.append(value)
            fed_back.append(dinner)
        dz_all, dr_all, dc_all = (_stack(op, steps[::-1]) for steps in dgates)
        dinner_all = _stack(op, fed_back[::-1])
        assert carried is not None
        into_w, into_r = [dz_all, dr_all, dc_all], [dz_all, dr_all, dinner_all]
        states = [d.before, d.before, fed]
        dW = [_product(op, g, d.X) for g in into_w]
        dR = [_product(op, g, s) for g, s in zip(into_r, states, strict=True)]
        dB = [op.sum(g, [0, 1]) for g in (*into_w, *into_r)]
        dX = op("MatMul", op("Concat", *into_w, axis=2), d.W)
        return [op("Concat", *dW, axis=0), op("Concat", *dR, axis=0), op("Concat", *dB, axis=0)], [carried], dX

    return _each_direction(op, node, [dY, dYh], back)


@gradient("LSTM")
def lstm(
    op: GraphBuilder, node: Node, dY: Value | None, dYh: Value | None = None, dYc: Value | None = None
) -> Adjoints:
    """i, o, f = s(x W + h R + b), g = tanh(...); c = f c + i g; h = o tanh c. ONNX's order of gates: i, o, f, g.

    The cell states are not among the node's outputs; they are summed up again from the gates.
    """
    _check(node, 4)
    if node.attr("input_forget", 0):
        raise ExportError(f"node {node}: input_forget has no gradient rule")

    def back(
        d: Direction, bias: Value | None, c0: Value, dlast: Value | None
    ) -> tuple[list[Value], list[Value], Value]:
        H, T = op.sample(d.R)[0], _steps(op, d.X)
        W, R = op("Transpose", d.W, perm=[1, 0]), op("Transpose", d.R, perm=[1, 0])
        sums = op("Add", op("MatMul", d.X, W), op("MatMul", d.before, R))
        if bias is not None:
            sums = op("Add", sums, op("Add", *op.all("Split", bias, op.const([4 * H] * 2), outputs=2, axis=0)))
        sigmoids, last = op.all("Split", sums, op.const([3 * H, H]), outputs=2, axis=2)
        i, o, f = _thirds(op, op("Sigmoid", sigmoids), 3, axis=2)
        g = op("Tanh", last)
        gained, kept = _unstack(op, op("Mul", i, g), T), _unstack(op, f, T)
        cells = [c0]
        for t in range(T):
            cells.append(op("Add", op("Mul", kept[t], cells[-1]), gained[t]))
        before, after = _stack(op, cells[:-1]), op("Tanh", _stack(op, cells[1:]))
        one = op.like(i, 1)

        def slope(s: Value) -> Value:
            return op("Mul", s, op("Sub", one, s))

        to_cell = op("Mul", o, op("Sub", one, op("Mul", after, after)))
        to_o = op("Mul", after, slope(o))
        to_rest = op(
            "Concat",
            op("Mul", g, slope(i)),
            op("Mul", before, slope(f)),
            op("Mul", i, op("Sub", one, op("Mul", g, g))),
            axis=2,
        )
        at = {k: _unstack(op, v, T) for k, v in {"cell": to_cell, "o": to_o, "rest": to_rest, "dY": d.dY}.items()}

        steps: list[Value] = []
        carried, dc = None, dlast
        for t in reversed(range(T)):
            dh = at["dY"][t] if carried is None else op("Add", at["dY"][t], carried)
            through = op("Mul", dh, at["cell"][t])
            dc = through if dc is None else op("Add", dc, through)
            di, df, dg = _thirds(op, op("Mul", op("Concat", dc, dc, dc, axis=1), at["rest"][t]), 3, axis=1)
            gates = op("Concat", di, op("Mul", dh, at["o"][t]), df, dg, axis=1)
            steps.append(gates)
            carried = op("MatMul", gates, d.R)
            dc = op("Mul", dc, kept[t])
        every = _stack(op, steps[::-1])
        db = op.sum(every, [0, 1])
        assert carried is not None
        assert dc is not None
        weights = [_product(op, every, d.X), _product(op, every, d.before), op("Concat", db, db, axis=0)]
        return weights, [carried, dc], op("MatMul", every, d.W)

    return _each_direction(op, node, [dY, dYh, dYc], back)


def _each_direction(
    op: GraphBuilder, node: Node, dYs: list[Value | None], back: Callable[..., tuple[list[Value], list[Value], Value]]
) -> Adjoints:
    """Turn time round for the reverse direction, call `back`, and put the directions together again."""
    X, W, R = node.inputs[:3]
    dY, *dlasts = dYs
    T, H = _steps(op, X), op.sample(R)[1]
    if T > LONGEST:
        raise ExportError(f"node {node}: {T} steps are written out one by one; at most {LONGEST} (shorten the window)")
    kind = node.attr("direction", "forward")
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[kind]
    zeros = op("Mul", _states(op, node, X, H), op.like(X, 0))
    initial = [node.inputs[i] if node.given(i) else None for i in (5, 6)]
    found = []
    for d, backwards in enumerate(reverse):
        h0, c0 = (zeros if s is None else _one(op, s, d) for s in initial)
        Y = op("Squeeze", _slice(op, node.outputs[0], d, 1), op.const([1]))
        out = None if dY is None else op("Squeeze", _slice(op, dY, d, 1), op.const([1]))
        x = _reversed(op, X, T) if backwards else X
        if backwards:
            Y, out = _reversed(op, Y, T), None if out is None else _reversed(op, out, T)
        lasts = [None if v is None else _one(op, v, d) for v in dlasts]
        before = (
            op(
                "Concat",
                op("Unsqueeze", h0, op.const([0])),
                op("Slice", Y, op.const([0]), op.const([T - 1]), op.const([0])),
                axis=0,
            )
            if T > 1
            else op("Unsqueeze", h0, op.const([0]))
        )
        out = out if out is not None else op("Mul", Y, op.like(Y, 0))
        if lasts and lasts[0] is not None:
            rest = (
                op("Mul", op("Slice", Y, op.const([0]), op.const([T - 1]), op.const([0])), op.like(Y, 0))
                if T > 1
                else None
            )
            added = op("Unsqueeze", lasts[0], op.const([0]))
            out = op("Add", out, op("Concat", rest, added, axis=0) if rest else added)
        bias = _one(op, node.inputs[3], d) if node.given(3) else None
        extra = [c0, lasts[1] if len(lasts) > 1 else None] if node.op_type == "LSTM" else []
        weights, states, dX = back(Direction(_one(op, W, d), _one(op, R, d), x, before, out), bias, *extra)
        found.append((weights, states, _reversed(op, dX, T) if backwards else dX))
    dX = found[0][2] if len(found) == 1 else op("Add", found[0][2], found[1][2])
    weights = [_joined(op, [w[i] for w, _, _ in found]) for i in range(3)]
    states = [_joined(op, [s[i] for _, s, _ in found]) for i in range(len(found[0][1]))]
    return [dX, *weights, None, *states, None, None][: len(node.inputs)]


def _check(node: Node, gates: int) -> None:
    """Refuse what the rules do not cover."""
    odd = {"activations", "activation_alpha", "activation_beta", "clip", "layout"}
    usual = {3: ["Sigmoid", "Tanh"], 4: ["Sigmoid", "Tanh", "Tanh"]}[gates]
    for name in odd:
        value = node.attr(name, None)
        names = [v.decode() for v in value] if name == "activations" and value else value
        if value and not (name == "activations" and names == usual * (len(names) // len(usual))):
            raise ExportError(f"node {node}: {name}={names} has no gradient rule; use the operator's defaults")
    if node.given(4):
        raise ExportError(f"node {node}: sequence_lens has no gradient rule; pad the windows to one length")
    if node.given(7):
        raise ExportError(f"node {node}: peepholes have no gradient rule")
    if not node.outputs[0]:
        raise ExportError(f"node {node}: its first output, the states of all steps, is not named")


def _steps(op: GraphBuilder, X: Value) -> int:
    T = op.shape(X)[0]
    if T is None:
        raise ExportError(f"'{X}': the number of time steps must be known; fix the window's length in the model")
    return T


def _states(op: GraphBuilder, node: Node, X: Value, H: int) -> Value:
    """(N, H) of anything finite."""
    first = op("Slice", node.outputs[0], op.const([0]), op.const([1]), op.const([0]))
    return op("Reshape", _slice(op, first, 0, 1), op.const([-1, H]))


def _slice(op: GraphBuilder, value: Value, at: int, axis: int) -> Value:
    return op("Slice", value, op.const([at]), op.const([at + 1]), op.const([axis]))


def _one(op: GraphBuilder, value: Value, d: int) -> Value:
    """One direction of (D, ...)."""
    return op("Squeeze", _slice(op, value, d, 0), op.const([0]))


def _joined(op: GraphBuilder, directions: list[Value]) -> Value:
    wide = [op("Unsqueeze", v, op.const([0])) for v in directions]
    return op("Concat", *wide, axis=0) if len(wide) > 1 else wide[0]


def _reversed(op: GraphBuilder, value: Value, T: int) -> Value:
    return op("Slice", value, op.const([T - 1]), op.const([-(2**31)]), op.const([0]), op.const([-1]))


def _unstack(op: GraphBuilder, value: Value, T: int) -> list[Value]:
    """(T, N, H) -> T times (N, H)."""
    if T == 1:
        return [op("Squeeze", value, op.const([0]))]
    return [op("Squeeze", v, op.const([0])) for v in op.all("Split", value, op.const([1] * T), outputs=T, axis=0)]


def _stack(op: GraphBuilder, steps: list[Value]) -> Value:
    wide = [op("Unsqueeze", v, op.const([0])) for v in steps]
    return op("Concat", *wide, axis=0) if len(wide) > 1 else wide[0]


def _thirds(op: GraphBuilder, value: Value, parts: int, axis: int = 1) -> list[Value]:
    size = op.shape(value)[axis]
    assert size is not None
    return op.all("Split", value, op.const([size // parts] * parts), outputs=parts, axis=axis)


def _biases(op: GraphBuilder, bias: Value | None, gates: int, H: int) -> tuple[list[Value | None], list[Value | None]]:
    """The gates' input biases and recurrent biases, (H,) each."""
    if bias is None:
        return [None] * gates, [None] * gates
    parts = op.all("Split", bias, op.const([H] * 2 * gates), outputs=2 * gates, axis=0)
    return list(parts[:gates]), list(parts[gates:])


def _plus(op: GraphBuilder, value: Value, *biases: Value | None) -> Value:
    for bias in biases:
        value = value if bias is None else op("Add", value, bias)
    return value


def _product(op: GraphBuilder, gates: Value, read: Value) -> Value:
    """Sum over steps and rows of gates^T read: (T, N, a), (T, N, b) -> (a, b)."""
    a, b = (op("Reshape", v, op.const([-1, _width(op, v)])) for v in (gates, read))
    return op("Gemm", a, b, transA=1)


def _width(op: GraphBuilder, value: Value) -> int:
    size = op.shape(value)[-1]
    assert size is not None
    return size
