"""Cross-entropy with labels: -mean over rows of log softmax(logits)[label]; gradient (p - onehot) / n."""

import numpy as np

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n,) int64 in 0..K-1."""
    labels = rows.argument("labels", np.int64, "n")
    return op("SoftmaxCrossEntropyLoss", rows.logits, labels, outputs=2)


SPEC = ObjectiveSpec(build=build, supervises=("classification",))
