"""Reverse-mode differentiation of an ONNX graph, written as more ONNX graph.

The walk visits the nodes between the wanted values and the root in reverse order, asks each
node's rule (`export.gradients`) for the adjoints of its inputs, and adds them up. Broadcasting
is undone here, once: an adjoint is summed back to the shape of the value it belongs to.
"""

from collections.abc import Collection, Mapping

from export.errors import ExportError
from export.gradients import RULES, ZERO, supported
from export.graph.builder import GraphBuilder, Value
from export.graph.node import Node
from export.training.recompute import Recomputed


def gradients(
    op: GraphBuilder, roots: Mapping[Value, Value], wanted: Collection[Value], *, segments: int = 1
) -> dict[Value, Value]:
    """Append the backward graph; return the adjoint of each of `wanted`.

    Args:
        op: holds the forward graph; receives the backward one.
        roots: value -> its adjoint, of the value's own shape (for a loss, the scalar 1 or its weight).
        wanted: the values to differentiate with respect to, usually the parameters.
        segments: into how many pieces the forward graph is cut, all but the last of which are computed again
            instead of kept (`export.training.recompute`).

    Raises:
        ExportError: an operator on the way has no rule, or a wanted value does not reach the roots.
    """
    forward = list(op.nodes)
    moving = set(wanted)  # values that depend on something wanted
    for proto in forward:
        if proto.op_type not in ZERO and moving.intersection(proto.input):
            moving.update(proto.output)

    again = Recomputed(op, forward, segments)
    adjoints = {value: adjoint for value, adjoint in roots.items() if value in moving}
    for proto in reversed(forward):
        dYs = [adjoints.get(y) for y in proto.output]
        if not moving.intersection(proto.output) or not any(dYs):
            continue
        if proto.op_type not in RULES:
            raise ExportError(
                f"no gradient rule for '{proto.op_type}' (node {Node(op, proto, [])}); "
                f"rules exist for: {', '.join(supported())}"
            )
        node = Node(op, again.view(proto, next(filter(None, dYs))), [x in moving for x in proto.input])
        given = RULES[proto.op_type](op, node, *dYs[: 1 + max(i for i, d in enumerate(dYs) if d)])
        for x, dX in zip(proto.input, given, strict=True):
            if dX is not None and x in moving:
                dX = unbroadcast(op, dX, x)
                adjoints[x] = op("Add", adjoints[x], dX) if x in adjoints else dX

    if lost := [value for value in wanted if value not in adjoints]:
        raise ExportError(
            f"nothing flows back to {', '.join(map(repr, lost))}: the objective does not depend on it; "
            "add a term that does, or freeze it with --train"
        )
    return {value: adjoints[value] for value in wanted}


def unbroadcast(op: GraphBuilder, adjoint: Value, value: Value) -> Value:
    """Sum `adjoint` back to the shape of `value`, which broadcasting had stretched to it."""
    have, want = op.shape(adjoint), op.shape(value)
    extra = len(have) - len(want)
    adjoint = op.sum(adjoint, range(extra))
    stretched = [i for i, (h, w) in enumerate(zip(have[extra:], want, strict=True)) if w == 1 and h != 1]
    return op.sum(adjoint, stretched, keepdims=True)
