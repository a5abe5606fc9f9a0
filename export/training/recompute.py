"""Activations computed again instead of kept: memory for time (Chen et al. 2016).

The forward graph is cut into segments of about equally many activations. Of all but the last, only what
later segments read is kept; when the backward walk enters a segment, its nodes are written once more, from what
was kept. A runtime would merge the two, which are the same, so every value a segment starts from is first added
to a zero taken from the adjoint that just arrived: that makes them different, and later.
"""

from collections.abc import Sequence
from math import prod

import onnx

from export.graph.builder import GraphBuilder, Value
from export.graph.node import with_names


class Recomputed:
    """Where the backward walk reads forward values."""

    def __init__(self, op: GraphBuilder, forward: Sequence[onnx.NodeProto], segments: int) -> None:
        self._op = op
        self._segments = cut(op, forward, segments) if segments > 1 else []
        self._segment_of = {y: i for i, nodes in enumerate(self._segments[:-1]) for n in nodes for y in n.output if y}
        made = {y for n in forward for y in n.output if y}
        batch = {
            x for n in forward for x in n.input if x and x not in made and op.floats(x) and None in op.shape(x)[:1]
        }
        self._activations = {y for y in made if op.floats(y)} | batch
        self._again: dict[int, dict[Value, Value]] = {}

    def view(self, proto: onnx.NodeProto, adjoint: Value) -> onnx.NodeProto:
        """The node as its rule shall see it. adjoint: one of its outputs', to start its segment from."""
        segment = self._segment_of.get(proto.output[0])
        if segment is None:
            return proto
        if segment not in self._again:
            self._again[segment] = self._write(self._segments[segment], adjoint)
        return with_names(proto, self._again[segment])

    def _write(self, nodes: Sequence[onnx.NodeProto], adjoint: Value) -> dict[Value, Value]:
        """Append the segment once more; old name -> new name."""
        op = self._op
        first = op("Gather", op("Reshape", adjoint, op.const([-1])), op.const(0))
        zero = op("Mul", first, op.like(first, 0))
        made = {y for n in nodes for y in n.output}
        start = [x for n in nodes for x in n.input if x in self._activations and x not in made]
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
    """The nodes in order, in pieces that make about equally many elements a row."""
    sizes = [sum(prod(d for d in op.shape(y)[1:] if d) for y in n.output if y and _ranked(op, y)) for n in forward]
    share = sum(sizes) / segments
    pieces: list[list[onnx.NodeProto]] = [[] for _ in range(segments)]
    so_far = 0
    for node, size in zip(forward, sizes, strict=True):
        pieces[min(segments - 1, int(so_far / share))].append(node)
        so_far += size
    return pieces


def _ranked(op: GraphBuilder, value: Value) -> bool:
    return bool(op.types[value].tensor_type.HasField("shape"))
