"""Huber's loss with labels (Huber 1964): squared for small errors e, linear for large ones, which so count less.

The mean over rows and outputs of e^2 / 2 where |e| <= delta, and delta (|e| - delta / 2) elsewhere. `huber[DELTA]`; 1
if it is not given. Gradient: e clipped to [-delta, delta], over n K.
"""

import numpy as np

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `labels` (n, K) float32 and the scalar `delta`."""
    delta = rows.scalar("delta", *(rows.numbers or (1.0,)))
    error = op("Sub", rows.logits, rows.argument("labels", np.float32, "n", rows.classes))
    # c (a - c / 2) with a = |e| and c = min(a, delta) is both branches, and has their gradient.
    size = op("Abs", error)
    small = op("Min", size, delta)
    terms = op("Mul", small, op("Sub", size, op("Mul", small, op.like(small, 0.5))))
    return op("ReduceMean", terms, keepdims=0)


SPEC = ObjectiveSpec(build=build, supervises=("regression",), numbers=(0, 1), lowest=1e-6)
