"""Activations computed again instead of kept: memory for time (Chen et al. 2016).

The forward graph is cut into segments of about equally many activations. Of all but the last, only what later segments
read is kept; when the backward walk enters a segment, its nodes are written once more, from what was kept. A runtime
would merge the two copies, which are equal. So every value that a segment starts from is first added to a zero taken
from the adjoint that has just arrived, which makes the copies differ and puts the second one later.
"""

from collections.abc import Sequence
from math import prod

import onnx

from export.graph.builder import GraphBuilder, Value
from export.graph.node import with_names


class Recomputation:
    """Where the backward walk reads forward values.

    Args:
        op: the graph.
        forward: its forward nodes.
        segments: how many pieces they are cut into; 1 keeps all activations.
    """

    def __init__(self, op: GraphBuilder, forward: Sequence[onnx.NodeProto], segments: int) -> None:
        self._op = op
        self._segments = cut(op, forward, segments) if segments > 1 else []
        self._segment_of = {y: i for i, nodes in enumerate(self._segments[:-1]) for n in nodes for y in n.output if y}
        self._activations = _activations(op, forward)
        self._copies: dict[int, dict[Value, Value]] = {}

    def view(self, proto: onnx.NodeProto, adjoint: Value) -> onnx.NodeProto:
        """The node as its rule shall see it. adjoint: that of one of its outputs, to start its segment from."""
        segment = self._segment_of.get(proto.output[0])
        if segment is None:
            return proto
        if segment not in self._copies:
            self._copies[segment] = self._write(self._segments[segment], adjoint)
        return with_names(proto, self._copies[segment])

    def _write(self, nodes: Sequence[onnx.NodeProto], adjoint: Value) -> dict[Value, Value]:
        """Append the segment once more; old name -> new name."""
        op = self._op
        first = op("Gather", op("Reshape", adjoint, op.const([-1])), op.const(0))
        zero = op("Mul", first, op.like(first, 0))
        inside = {y for n in nodes for y in n.output}
        start = [x for n in nodes for x in n.input if x in self._activations and x not in inside]
        renamed = {x: op("Add", x, zero) for x in dict.fromkeys(start)}
        for node in nodes:
            renamed |= {y: op.fresh(f"again_{y}") for y in node.output if y}
            copy = with_names(node, renamed)
            copy.name = copy.output[0] or op.fresh(node.name)
            op.append(copy)
            for old in filter(None, node.output):
                op.assume(renamed[old], old)
        return renamed


def cut(op: GraphBuilder, forward: Sequence[onnx.NodeProto], segments: int) -> list[list[onnx.NodeProto]]:
    """The nodes in order, in pieces that compute about equally many elements a row."""
    sizes = [sum(_elements_per_row(op, y) for y in node.output if y) for node in forward]
    share = sum(sizes) / segments
    pieces: list[list[onnx.NodeProto]] = [[] for _ in range(segments)]
    so_far = 0
    for node, size in zip(forward, sizes, strict=True):
        pieces[min(segments - 1, int(so_far / share))].append(node)
        so_far += size
    return pieces


def _activations(op: GraphBuilder, forward: Sequence[onnx.NodeProto]) -> set[Value]:
    """All float values that the forward nodes compute, and the batches that they read."""
    computed = {y for node in forward for y in node.output if y}
    read = {x for node in forward for x in node.input if x} - computed
    batches = {x for x in read if op.floats(x) and None in op.shape(x)[:1]}
    return {y for y in computed if op.floats(y)} | batches


def _elements_per_row(op: GraphBuilder, value: Value) -> int:
    if not op.types[value].tensor_type.HasField("shape"):
        return 0
    return prod(d for d in op.shape(value)[1:] if d)
