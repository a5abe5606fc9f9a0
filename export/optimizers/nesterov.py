"""SGD with Nesterov momentum, as PyTorch writes it: m <- mu m + g, p <- p - lr (g + mu m)."""

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
        ahead = op("Add", g, op("Mul", following[m], hyper["momentum"]))
        following[p] = op("Sub", p, op("Mul", ahead, hyper["learning_rate"]))
    return following
