"""Cross-entropy with a weight for each class, for classes that are rare: `weighted_cross_entropy[W0,...,W(K-1)]`.

-sum over rows of w[label] log p[label], over the sum of all w[label]; gradient w[label] (p - onehot) / sum of w[label].
"""

import numpy as np

from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.objectives import MANY, ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n,) int64 in 0..K-1."""
    if len(rows.numbers) != rows.classes or not any(rows.numbers):
        raise ExportError(
            f"weighted_cross_entropy has {len(rows.numbers)} weights; the model has {rows.classes} classes, of which "
            "one at least needs a weight above 0"
        )
    labels = rows.argument("labels", np.int64, "n")
    weights = op.const(rows.numbers, op.dtype(rows.logits))
    return op("SoftmaxCrossEntropyLoss", rows.logits, labels, weights, outputs=2)


SPEC = ObjectiveSpec(build=build, supervises=("classification",), numbers=(1, MANY))
