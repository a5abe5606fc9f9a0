"""A graph as the patterns see it: who makes a value, who reads it, and what is constant."""

import struct
from collections import defaultdict
from dataclasses import dataclass, field

from murmur_kernels.protobuf import Node, dump, parse, tensor

GRAPH, OPSET = 7, 8
"""fields of a ModelProto"""
NODE, INITIALIZER, INPUT, OUTPUT = 1, 5, 11, 12
"""fields of a GraphProto"""


@dataclass
class Graph:
    """Nodes in their order, and what is known about values.

    shapes: of inputs and constants, 0 where a dimension is not known. constants: name -> content.
    """

    nodes: list[Node]
    outputs: list[str]
    shapes: dict[str, list[int]] = field(default_factory=dict)
    constants: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.producer = {value: node for node in self.nodes for value in node.outputs if value}
        self.consumers: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                self.consumers[value].append(node)

    def by(self, value: str, op: str) -> Node | None:
        """Return the node that makes a value, if it is of this operator."""
        node = self.producer.get(value)
        return node if node is not None and node.op == op else None

    def integers(self, value: str) -> list[int]:
        """Return a constant's int64 values; none if it is no constant."""
        content = self.constants.get(value, b"")
        return list(struct.unpack(f"<{len(content) // 8}q", content[: len(content) // 8 * 8]))

    def number(self, value: str) -> float | None:
        """Return a constant's only float32."""
        content = self.constants.get(value, b"")
        return float(struct.unpack("<f", content)[0]) if len(content) == 4 else None

    def shape(self, value: str) -> list[int]:
        """Return what is known of a value's shape; a Slice is taken for a reversal if it has negative steps."""
        node = self.by(value, "Slice")
        if node is not None and len(node.inputs) == 5 and set(self.integers(node.inputs[4])) == {-1}:
            return self.shape(node.inputs[0])
        return self.shapes.get(value, [])


def opened(model: bytes) -> Graph:
    """Read the graph of a model. Raises ValueError: it is none."""
    (content,) = (value for number, value in parse(model) if number == GRAPH)
    graph = Graph([], [])
    for number, value in parse(content):
        if number == NODE:
            graph.nodes.append(Node.parse(value))
        elif number == INITIALIZER:
            name, shape, raw = tensor(value)
            graph.shapes[name], graph.constants[name] = shape, raw
        elif number == INPUT:
            name, shape = _input(value)
            graph.shapes[name] = shape
        elif number == OUTPUT:
            graph.outputs.append(_input(value)[0])
    graph.__post_init__()
    return graph


def _input(data: bytes) -> tuple[str, list[int]]:
    """(name, shape) of a ValueInfoProto."""
    name, shape = "", []
    for number, value in parse(data):
        if number == 1:
            name = value.decode()
        elif number == 2:
            for _, tensor_type in parse(value):
                for _, dims in (f for f in parse(tensor_type) if f[0] == 2):
                    shape = [next((v for k, v in parse(dim) if k == 1), 0) for _, dim in parse(dims)]
    return name, shape


def closed(model: bytes, nodes: list[Node]) -> bytes:
    """Write the model with other nodes, and with our operators declared."""
    fields = []
    for number, value in parse(model):
        if number == GRAPH:
            rest = [f for f in parse(value) if f[0] != NODE]
            value = dump([*((NODE, node.dump()) for node in nodes), *rest])
        fields.append((number, value))
    return dump([*fields, (OPSET, dump([(1, b"murmur"), (2, 1)]))])


def living(nodes: list[Node], outputs: list[str]) -> list[Node]:
    """Leave out nodes whose values nobody reads."""
    needed, kept = set(outputs), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    return kept[::-1]
