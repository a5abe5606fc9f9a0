"""Squared error on outputs: mean over rows of ||outputs - target||^2.

The outputs are softmax(logits), of a multi-label model sigmoid(logits), of a regression the logits. The target may
leave the simplex (D-Distillation's tracking variable does), which is why this and not a Kullback-Leibler term pulls
towards it. With e = p - target the gradient is 2 (p o e - p (p.e)) / n, 2 p (1 - p) e / n, or 2 e / n. Of a model with
positions it is the mean over rows and positions.
"""

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target` (n, K, ...) float32."""
    error = op("Sub", rows.outputs(op), rows.target())
    return op("ReduceMean", op.squares(error, [1]), keepdims=0)


SPEC = ObjectiveSpec(build=build)
