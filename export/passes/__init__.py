"""Rewrites of the forward graph before it is differentiated, one a file, each exact.

A file has `apply(nodes, outputs) -> nodes`. They run in the order of their names.
"""

from collections.abc import Collection, Sequence
from importlib import import_module

import onnx

from edge.plugins import names


def optimize(nodes: Sequence[onnx.NodeProto], outputs: Collection[str]) -> tuple[onnx.NodeProto, ...]:
    """Apply every pass to a model's nodes; `outputs` are the values that must stay."""
    for name in names(__name__):
        nodes = import_module(f"{__name__}.{name.replace('-', '_')}").apply(nodes, outputs)
    return tuple(nodes)
