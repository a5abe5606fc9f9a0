"""Rewrites of a finished graph, forward and backward, into what the runtime does fastest; one a file.

A file has `OPERATORS`, the types it looks at, and `apply(op, node)`, which appends a replacement that
makes the same outputs, or does nothing and returns False. Every one is exact, and says what it gained.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import onnx

from edge.plugins import names
from export.graph.builder import Ops


def lower(op: Ops, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """Apply every rewrite, in the order of their names, to `nodes` of the graph `op` holds."""
    op.forget()
    for name in names(__name__):
        module: Any = import_module(f"{__name__}.{name.replace('-', '_')}")
        lowered: list[onnx.NodeProto] = []
        for node in nodes:
            first = len(op.nodes)
            done = node.op_type in module.OPERATORS and module.apply(op, node)
            lowered += op.nodes[first:] if done else [node]
            del op.nodes[first:]
        nodes = lowered
    return list(nodes)
