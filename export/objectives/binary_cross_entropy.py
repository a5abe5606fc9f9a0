"""Binary cross-entropy with labels, of one logit or one for each of K labels that do not exclude one another.

The mean over rows and labels of softplus(z) - y z, which is -y log p - (1 - y) log(1 - p) with p = sigmoid(z) and has
finite values and gradients for every z. Gradient: (p - y) / (n K). `binary_cross_entropy[W1,...,WK]`: the first
summand, of the rows that have label k, counts W_k times (for labels that are rare).
"""

import numpy as np

from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.objectives import MANY, ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n, K) float32 in 0..1."""
    z, y = rows.logits, rows.argument("labels", np.float32, "n", rows.classes)
    if not rows.numbers:
        return op("ReduceMean", op("Sub", op("Softplus", z), op("Mul", y, z)), keepdims=0)
    if len(rows.numbers) != rows.classes:
        raise ExportError(f"binary_cross_entropy has {len(rows.numbers)} weights; the model has {rows.classes} labels")
    one, weights = op.like(z, 1), op.const(rows.numbers, op.dtype(z))
    positive = op("Mul", op("Mul", weights, y), op("Softplus", op("Neg", z)))
    negative = op("Mul", op("Sub", one, y), op("Softplus", z))
    return op("ReduceMean", op("Add", positive, negative), keepdims=0)


SPEC = ObjectiveSpec(build=build, supervises=("multi-label",), numbers=(0, MANY))
