"""Focal loss (Lin et al. 2017), `focal[GAMMA]`: cross-entropy in which rows that are right already count less.

Gamma is 2 if it is not given.

With p the probability of what is the case, the mean over rows (and labels, of a multi-label model) of
-(1 - p)^gamma log p. Gamma is 1 or more: below, the gradient at p = 1 is not finite.
"""

import numpy as np

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels`, (n,) int64 or (n, K) float32 in 0..1, and the scalar `gamma`."""
    gamma = rows.scalar("gamma", *(rows.numbers or (2.0,)))
    if rows.task.link == "sigmoid":
        y = rows.argument("labels", np.float32, "n", rows.classes)
        signs = op("Sub", op("Add", y, y), op.like(y, 1))
        z = op("Mul", signs, rows.logits)  # p = sigmoid(z)
        wrong = op("Exp", op("Neg", op("Mul", gamma, op("Softplus", z))))
        return op("ReduceMean", op("Mul", wrong, op("Softplus", op("Neg", z))), keepdims=0)
    labels = rows.argument("labels", np.int64, "n")
    losses = op("SoftmaxCrossEntropyLoss", rows.logits, labels, outputs=2, reduction="none")
    wrong = op("Pow", op("Sub", op.like(losses, 1), op("Exp", op("Neg", losses))), gamma)
    return op("ReduceMean", op("Mul", wrong, losses), keepdims=0)


SPEC = ObjectiveSpec(build=build, supervises=("classification", "multi-label"), numbers=(0, 1), lowest=1.0)
