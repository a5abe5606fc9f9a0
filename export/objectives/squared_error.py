"""Squared error on probabilities: mean over rows of ||softmax(logits) - target||^2.

The target may leave the simplex (D-Distillation's tracking variable does, algorithms 1, I4), which
is why this and not a Kullback-Leibler term pulls towards it. Gradient: 2 (p o e - p (p.e)) / n.
"""

from export.graph.builder import GraphBuilder, Value
from export.objectives import Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target` (n, K) float32."""
    error = op("Sub", op("Softmax", rows.logits, axis=1), rows.target())
    return op("ReduceMean", op.squares(error, [1]), keepdims=0)
