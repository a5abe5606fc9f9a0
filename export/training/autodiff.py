"""Reverse-mode differentiation of an ONNX graph, written as more ONNX graph.

The walk visits the nodes between the wanted values and the roots in reverse order, asks each node's rule
(`export.gradients`) for the adjoints of its inputs, and adds them up. Broadcasting is undone here, once: an adjoint is
summed back to the shape of the value it belongs to.
"""

from collections.abc import Collection, Mapping, Sequence

import onnx

from edge.bundle import PARAMETER
from export.errors import ExportError
from export.gradients import RULES, ZERO, Adjoints
from export.graph.builder import GraphBuilder, Value
from export.graph.node import GraphNode
from export.training.recompute import Recomputation


def gradients(
    op: GraphBuilder, roots: Mapping[Value, Value], wanted: Collection[Value], *, segments: int = 1
) -> dict[Value, Value]:
    """Append the backward graph.

    Args:
        op: holds the forward graph; receives the backward one.
        roots: value -> its adjoint, of the value's own shape (for a loss, the scalar 1 or its weight).
        wanted: the values to differentiate with respect to, usually the parameters.
        segments: into how many pieces the forward graph is cut, all but the last of which are computed again
            instead of kept (`export.training.recompute`).

    Returns:
        The adjoint of each of `wanted`, in its shape.

    Raises:
        ExportError: an operator on the way has no rule, or the roots do not depend on a wanted value.
    """
    forward = list(op.nodes)
    dependent = _dependent_on(wanted, forward)
    recomputation = Recomputation(op, forward, segments)
    adjoints = {value: adjoint for value, adjoint in roots.items() if value in dependent}
    for proto in reversed(forward):
        dYs = [adjoints.get(y) for y in proto.output]
        first = next(filter(None, dYs), None)
        if first is None or dependent.isdisjoint(proto.output):
            continue
        node = GraphNode(op, recomputation.view(proto, first), [x in dependent for x in proto.input])
        try:
            dXs = _apply_rule(op, node, dYs)
        except ExportError as refusal:
            raise ExportError(f"{refusal}, {_way_out(op, proto, forward, wanted)}") from None
        for x, dX in zip(proto.input, dXs, strict=True):
            if dX is not None and x in dependent:
                dX = unbroadcast(op, dX, x)
                adjoints[x] = op("Add", adjoints[x], dX) if x in adjoints else dX

    if missing := [value for value in wanted if value not in adjoints]:
        raise ExportError(
            f"nothing flows back to {', '.join(map(repr, missing))}: the objective does not depend on it; "
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


def _dependent_on(wanted: Collection[Value], nodes: Sequence[onnx.NodeProto]) -> set[Value]:
    """The wanted values, and all that depends on them differentiably."""
    dependent = set(wanted)
    for node in nodes:
        if node.op_type not in ZERO and not dependent.isdisjoint(node.input):
            dependent.update(node.output)
    return dependent


def _apply_rule(op: GraphBuilder, node: GraphNode, dYs: Sequence[Value | None]) -> Adjoints:
    """Ask the rule; it is given the adjoints up to the last output that has one."""
    if node.op_type not in RULES:
        raise ExportError(f"no gradient rule for '{node.op_type}' (node {node})")
    count = 1 + max(i for i, dY in enumerate(dYs) if dY)
    return RULES[node.op_type](op, node, *dYs[:count])


SHOWN = 4
"""parameters that a message names"""


def _way_out(
    op: GraphBuilder, proto: onnx.NodeProto, forward: Sequence[onnx.NodeProto], wanted: Collection[Value]
) -> str:
    """The layer that a node belongs to, and what can be trained without it."""
    before = _before(op, proto)
    layer = next((x for node in [proto, *before] for x in node.input if x in wanted), "")
    frozen = [x for x in wanted if any(x in node.input for node in [proto, *before])]
    later = 0
    for node in reversed(forward):
        if not frozen or not set(frozen).isdisjoint(node.input):
            break
        later += not set(wanted).isdisjoint(node.input)
    named = [x.removeprefix(PARAMETER) for x in frozen]
    shown = ",".join(named[:SHOWN]) + (f",... ({len(named)} parameters)" if len(named) > SHOWN else "")
    away = f"train what comes after it, --train last:{later}, or freeze what comes before: --freeze {shown}"
    return f"in the layer of '{layer.removeprefix(PARAMETER)}'; " + (
        away if later else "no layer comes after it, so write that part of the model with other operators"
    )


def _before(op: GraphBuilder, proto: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The nodes that a node depends on, the nearest first."""
    reached: dict[int, onnx.NodeProto] = {}
    nodes = [proto]
    for node in nodes:
        for x in node.input:
            source = op.producer(x)
            if source is not None and id(source) not in reached:
                reached[id(source)] = source
                nodes.append(source)
    return nodes[1:]
