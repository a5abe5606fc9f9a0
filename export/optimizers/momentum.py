"""SGD with heavy-ball momentum, as PyTorch writes it: m <- mu m + g, p <- p - lr m."""

from collections.abc import Mapping

from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State

HYPER = {"learning_rate": 0.1, "momentum": 0.9}


def build(op: GraphBuilder, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """State: one buffer m a parameter, zero at first."""
    following: Next = {}
    for p, g in gradients.items():
        m = state("momentum", p)
        following[m] = op("Add", op("Mul", m, hyper["momentum"]), g)
        following[p] = op("Sub", p, op("Mul", following[m], hyper["learning_rate"]))
    return following
