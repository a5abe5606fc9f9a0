"""Cross-entropy with a label for each position of a sample: the mean over the positions that have one.

The logits are (n, K, ...), the labels (n, ...). `position_cross_entropy[I]`: positions with label I have none; -1 if it
is not given. Gradient: (p - onehot) over the number of labelled positions in the batch, 0 elsewhere.
"""

import numpy as np

from edge.task import IGNORED
from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n, ...) int64 in 0..K-1, or the label that is none."""
    ignored = int(rows.numbers[0]) if rows.numbers else IGNORED
    labels = rows.argument("labels", np.int64, "n", *rows.positions)
    return op("SoftmaxCrossEntropyLoss", rows.logits, labels, outputs=2, ignore_index=ignored)


SPEC = ObjectiveSpec(build=build, supervises=("per-position",), numbers=(0, 1), lowest=-1e9)
