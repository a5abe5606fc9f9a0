"""The memory that a graph's activations need, by liveness.

The nodes run in their order: a value lives from its node to its last reader, views cost nothing, and an element-wise
result takes the place of an operand of its size that dies there.
"""

from collections.abc import Set
from math import prod

import numpy as np
import onnx

from export.graph.builder import GraphBuilder, Value

VIEWS = {"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"}
"""Operators that only rename sizes."""
IN_PLACE = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Exp", "Log", "Sqrt", "Relu", "Clip", "Tanh", "Sigmoid", "Softmax"),
    *("Erf", "Abs", "Reciprocal", "Sum", "LogSoftmax", "LeakyRelu", "Elu", "Selu", "Softplus"),
}
"""Operators whose result may overwrite an operand."""


def peak_bytes(op: GraphBuilder, results: Set[Value]) -> int:
    """The most bytes of activations that are alive at once.

    Args:
        op: a graph whose shapes are all known.
        results: its outputs, which belong to the caller and are not counted.
    """
    owner = _owners(op)
    last_read = {owner.get(x, x): i for i, node in enumerate(op.nodes) for x in node.input}
    counted = {y for node in op.nodes for y in node.output if y and y not in owner} - results
    alive = highest = 0
    for i, node in enumerate(op.nodes):
        created = [y for y in node.output if y in counted]
        dying = {x for x in (owner.get(x, x) for x in node.input) if x in counted and last_read[x] == i}
        alive += sum(size_of(op, y) for y in created)
        highest = max(highest, alive - _reused(op, node, created, dying))
        alive -= sum(size_of(op, x) for x in dying) + sum(size_of(op, y) for y in created if y not in last_read)
    return highest


def size_of(op: GraphBuilder, value: Value) -> int:
    """Bytes of a value."""
    return prod(d or 0 for d in op.shape(value)) * np.dtype(op.dtype(value)).itemsize


def _owners(op: GraphBuilder) -> dict[Value, Value]:
    """For each view, the value whose memory it shares."""
    owner: dict[Value, Value] = {}
    for node in op.nodes:
        if node.op_type in VIEWS:
            owner[node.output[0]] = owner.get(node.input[0], node.input[0])
    return owner


def _reused(op: GraphBuilder, node: onnx.NodeProto, created: list[Value], dying: set[Value]) -> int:
    """Bytes of a dying operand whose memory the result takes over."""
    if node.op_type not in IN_PLACE or not created:
        return 0
    size = size_of(op, created[0])
    return size if any(size_of(op, x) == size for x in dying) else 0
