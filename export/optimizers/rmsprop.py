"""RMSprop (Tieleman and Hinton, 2012), uncentred, as PyTorch writes it.

v <- a v + (1 - a) g^2        p <- p - lr g / (sqrt(v) + epsilon)
"""

from collections.abc import Mapping

from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State

HYPER = {"learning_rate": 0.01, "smoothing": 0.99, "epsilon": 1e-8}


def build(op: GraphBuilder, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """State: v a parameter, zero at first."""
    rest = op("Sub", op.like(hyper["smoothing"], 1), hyper["smoothing"])
    following: Next = {}
    for p, g in gradients.items():
        v = state("v", p)
        following[v] = op("Add", op("Mul", v, hyper["smoothing"]), op("Mul", op("Mul", g, g), rest))
        scaled = op("Div", g, op("Add", op("Sqrt", following[v]), hyper["epsilon"]))
        following[p] = op("Sub", p, op("Mul", scaled, hyper["learning_rate"]))
    return following
