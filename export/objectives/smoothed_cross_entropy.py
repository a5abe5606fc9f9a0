"""Cross-entropy with label smoothing (Szegedy et al. 2016): `smoothed_cross_entropy[S]`; S is 0.1 if it is not given.

The target is 1 - S + S / K for the label and S / K for every other class; gradient (p - target) / n.
"""

import numpy as np

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n,) int64 in 0..K-1 and the scalar `smoothing`."""
    smoothing = rows.scalar("smoothing", *(rows.numbers or (0.1,)))
    labels = rows.argument("labels", np.int64, "n")
    hard, log_p = op.all("SoftmaxCrossEntropyLoss", rows.logits, labels, outputs=2)
    uniform = op("Neg", op("ReduceMean", log_p, keepdims=0))
    rest = op("Sub", op.like(hard, 1), smoothing)
    return op("Add", op("Mul", rest, hard), op("Mul", smoothing, uniform))


SPEC = ObjectiveSpec(build=build, supervises=("classification",), numbers=(0, 1), highest=1.0)
