"""Cross-entropy with soft labels: -mean over rows of target . log softmax(logits).

Where the rows of target sum to 1 the gradient is (p - target) / n; it is exact for any target.
"""

from export.graph.builder import GraphBuilder, Value
from export.objectives import Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target` (n, K) float32, probabilities."""
    products = op("Mul", rows.target(), op("LogSoftmax", rows.logits, axis=1))
    return op("Neg", op("ReduceMean", op("ReduceSum", products, op.const([1]), keepdims=0), keepdims=0))
