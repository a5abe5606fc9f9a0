"""Rewrites of the finished graph, forward and backward, into what a runtime does fastest; one a file.

A file has `REWRITE`, a `export.graph.rewrite.Rewrite`. Those of a target are applied in the order of their names. Each
is exact, and its docstring says what it gained, measured. One of them is not optional: `filter_gradient` writes the
exporter's internal operator with standard ones, in a formulation of its own for each target.

>>> import numpy as np
>>> op = GraphBuilder(18)
>>> p, A, B = (op.argument(name, np.float32, [3, 3]) for name in ("parameter/p", "A", "B"))
>>> rate = op.argument("learning_rate", np.float32, [])
>>> y = op("Sub", p, op("Mul", op("Gemm", A, B), rate))
>>> nodes, replaced = lower(op, op.nodes, [y])
>>> [(node.op_type, len(node.input)) for node in nodes]
[('Mul', 2), ('Gemm', 3)]
"""

from collections.abc import Sequence

import onnx

from export.graph.builder import GraphBuilder, Value
from export.graph.rewrite import ONNX_RUNTIME, load_rewrites, rewrite


def lower(
    op: GraphBuilder, nodes: Sequence[onnx.NodeProto], results: Sequence[Value], target: str = ONNX_RUNTIME
) -> tuple[list[onnx.NodeProto], dict[Value, Value]]:
    """Apply every rewrite for `target` to nodes of the graph that `op` holds.

    Args:
        op: the graph that holds the nodes' types and constants.
        nodes: the finished graph.
        results: the values it is to compute.
        target: the runtime, "onnxruntime" or "tflite".

    Returns:
        The new nodes, and the values that took the place of others (old name -> new name).
    """
    return rewrite(op, nodes, results, [r for r in load_rewrites(__name__) if target in r.targets])
