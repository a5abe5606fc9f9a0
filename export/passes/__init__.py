"""Rewrites of the forward graph before it is differentiated, one a file, each exact.

A file has `apply(nodes, output) -> nodes`. They run in the order of their names.
"""

from collections.abc import Sequence
from importlib import import_module

import onnx

from edge.plugins import names


def optimize(nodes: Sequence[onnx.NodeProto], output: str) -> tuple[onnx.NodeProto, ...]:
    """Apply every pass to a model's nodes; `output` is the value they compute."""
    for name in names(__name__):
        nodes = import_module(f"{__name__}.{name.replace('-', '_')}").apply(nodes, output)
    return tuple(nodes)
