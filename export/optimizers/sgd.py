"""Stochastic gradient descent: p <- p - lr g."""

from collections.abc import Mapping

from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State

HYPER = {"learning_rate": 0.1}


def build(op: GraphBuilder, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """No state."""
    return {p: op("Sub", p, op("Mul", g, hyper["learning_rate"])) for p, g in gradients.items()}
