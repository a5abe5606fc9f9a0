"""Rewrite the nodes of a graph, one pattern at a time, over an index of who computes and who reads each value.

`export.passes` (the forward graph) and `export.lowering` (the finished graph) hold the rewrites, one a file.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module

import onnx

from edge.plugins import names
from export.graph.builder import GraphBuilder, Value
from export.graph.node import with_names
from export.graph.prune import prune

ONNX_RUNTIME, TFLITE = "onnxruntime", "tflite"


class ValueIndex:
    """Who computes and who reads each value of a list of nodes.

    Args:
        nodes: the nodes, operands before their readers.
        results: values that the graph's caller reads.
    """

    def __init__(self, nodes: Sequence[onnx.NodeProto], results: Iterable[Value]) -> None:
        self._producers = {y: node for node in nodes for y in node.output if y}
        self._readers = Counter(x for node in nodes for x in node.input)
        self._readers.update(results)

    def producer(self, value: Value) -> onnx.NodeProto | None:
        """The node that computes `value`; None for inputs and constants."""
        return self._producers.get(value)

    def sole_producer(self, value: Value, op_type: str) -> onnx.NodeProto | None:
        """The `op_type` node that computes `value` for a single reader: rewriting that reader makes it superfluous."""
        node = self._producers.get(value)
        return node if node is not None and node.op_type == op_type and self._readers[value] == 1 else None


@dataclass(frozen=True)
class Rewrite:
    """What a file of `export.passes` or `export.lowering` exports as `REWRITE`.

    apply(op, node, index) appends the replacement to `op` and returns the value that takes the place of `node`'s first
    output, or returns None to leave the node as it is. The replacement must compute the same values.
    """

    operators: frozenset[str]
    """the operators that `apply` is called for"""
    apply: Callable[[GraphBuilder, onnx.NodeProto, ValueIndex], Value | None]
    targets: frozenset[str] = frozenset({ONNX_RUNTIME})
    """the runtimes whose graphs are rewritten"""
    training_only: bool = False
    """whether graphs that only predict are left as they are"""


def load_rewrites(package: str) -> list[Rewrite]:
    """The rewrites of a package, in the order of their file names."""
    return [import_module(f"{package}.{name.replace('-', '_')}").REWRITE for name in names(package)]


def rewrite(
    op: GraphBuilder, nodes: Sequence[onnx.NodeProto], results: Sequence[Value], rewrites: Iterable[Rewrite]
) -> tuple[list[onnx.NodeProto], dict[Value, Value]]:
    """Apply each rewrite to all nodes, then the next.

    Args:
        op: the graph that holds the nodes' types and constants; its own list of nodes is left as it is.
        nodes: the nodes to rewrite, operands before their readers.
        results: the values that must still be computed.
        rewrites: what to apply, in this order.

    Returns:
        The new nodes, pruned to the results, and the values that took the place of others (old name -> new name).
    """
    replaced: dict[Value, Value] = {}
    for each in rewrites:
        # A node made for an earlier rewrite may come later in the list than the one looked at now.
        op.forget()
        current = [replaced.get(value, value) for value in results]
        nodes, renamed = _apply(op, nodes, current, each)
        replaced = {old: renamed.get(new, new) for old, new in replaced.items()} | renamed
    return list(nodes), replaced


def _apply(
    op: GraphBuilder, nodes: Sequence[onnx.NodeProto], results: Sequence[Value], each: Rewrite
) -> tuple[Sequence[onnx.NodeProto], dict[Value, Value]]:
    if not any(node.op_type in each.operators for node in nodes):
        return nodes, {}
    index = ValueIndex(nodes, results)
    rewritten: list[onnx.NodeProto] = []
    renamed: dict[Value, Value] = {}
    end = len(op.nodes)
    for node in nodes:
        if renamed and not renamed.keys().isdisjoint(node.input):
            node = with_names(node, renamed)
        value = each.apply(op, node, index) if node.op_type in each.operators else None
        if value is None:
            rewritten.append(node)
        else:
            rewritten += op.nodes[end:]
            renamed[node.output[0]] = value
            del op.nodes[end:]
    return prune(rewritten, [renamed.get(value, value) for value in results]) if renamed else nodes, renamed
