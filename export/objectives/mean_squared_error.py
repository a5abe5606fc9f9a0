"""Mean squared error with labels: the mean over rows and outputs of e^2, e = output - label; gradient 2 e / (n K)."""

import numpy as np

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n, K) float32."""
    error = op("Sub", rows.logits, rows.argument("labels", np.float32, "n", rows.classes))
    return op("ReduceMean", op("Mul", error, error), keepdims=0)


SPEC = ObjectiveSpec(build=build, supervises=("regression",))
