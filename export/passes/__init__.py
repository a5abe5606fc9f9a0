"""Rewrites of the forward graph before it is differentiated, one a file.

A file has `REWRITE`, a `export.graph.rewrite.Rewrite`. They are applied in the order of their names. Each is exact,
and its docstring says what it gained, measured.

>>> import numpy as np
>>> op = GraphBuilder(18)
>>> x = op.argument("x", np.float32, ["N", 1, 4, 4])
>>> y = op("MaxPool", op("Relu", x), kernel_shape=[2, 2], strides=[2, 2])
>>> replaced = optimize(op, [y], training=True)
>>> [node.op_type for node in op.nodes], replaced[y] == op.nodes[-1].output[0]
(['MaxPool', 'Relu'], True)
"""

from collections.abc import Sequence

from export.graph.builder import GraphBuilder, Value
from export.graph.rewrite import load_rewrites, rewrite


def optimize(op: GraphBuilder, results: Sequence[Value], *, start: int = 0, training: bool) -> dict[Value, Value]:
    """Apply every pass to the forward nodes of a graph under construction.

    Args:
        op: the graph; its nodes from `start` on are replaced.
        results: the values that must still be computed.
        start: how many of the first nodes are not part of the model.
        training: whether the graph will be differentiated.

    Returns:
        The values that took the place of others, old name -> new name.
    """
    passes = [p for p in load_rewrites(__name__) if training or not p.training_only]
    op.nodes[start:], replaced = rewrite(op, op.nodes[start:], results, passes)
    return replaced
