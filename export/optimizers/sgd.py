"""Stochastic gradient descent: p <- p - lr g.

Where g is a plain product, as of a linear layer, the update is part of it: Gemm(lr dY, X) subtracted from p in one
pass, and g itself never exists. Measured on mlp:200 over PyTorch's time: 0.60 -> 0.45 at batch 1, 0.54 -> 0.44 at 8,
0.45 -> 0.41 at 32 (`edge-bench step`).
"""

from collections.abc import Mapping

from export.graph.builder import Ops, Value
from export.graph.node import attributes
from export.optimizers import Hyper, Next, State

HYPER = {"learning_rate": 0.1}


def build(op: Ops, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """No state."""
    rate = hyper["learning_rate"]
    after: Next = {}
    for p, g in gradients.items():
        product = op.producer(g)
        if product is not None and product.op_type == "Gemm" and len(product.input) == 2:
            A, B = product.input
            own = attributes(product)
            own |= {"alpha": -own.get("alpha", 1.0), "beta": 1.0}
            after[p] = op("Gemm", op("Mul", A, rate), B, p, **own)
        else:
            after[p] = op("Sub", p, op("Mul", g, rate))
    return after
