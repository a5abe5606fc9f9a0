"""Read and copy nodes that hold graphs: the branches of an If, the body of a Loop or a Scan."""

from collections.abc import Iterator, Mapping

import onnx

from export.graph.builder import Value
from export.graph.node import with_names


def reads(node: onnx.NodeProto) -> Iterator[Value]:
    """Iterate over what a node reads, and what the graphs inside it read of what is around them."""
    yield from node.input
    for graph in graphs(node):
        own = {x.name for x in graph.input} | {t.name for t in graph.initializer}
        own |= {y for inner in graph.node for y in inner.output}
        outer = [x for inner in graph.node for x in reads(inner)] + [y.name for y in graph.output]
        yield from (x for x in outer if x not in own)


def graphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """List the graphs that a node holds."""
    return [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]


def renamed(node: onnx.NodeProto, names: Mapping[Value, Value]) -> onnx.NodeProto:
    """Copy a node under other names of values, also where the graphs inside it read them."""
    copy = with_names(node, names)
    for graph in graphs(copy):
        nodes = [renamed(inner, names) for inner in graph.node]
        del graph.node[:]
        graph.node.extend(nodes)
        for output in graph.output:
            output.name = names.get(output.name, output.name)
    return copy
