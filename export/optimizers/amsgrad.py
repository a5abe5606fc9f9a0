"""AMSGrad (Reddi, Kale, Kumar, 2018): Adam, dividing by the largest second moment so far."""

from collections.abc import Mapping

from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State, adam

HYPER = adam.HYPER


def build(op: GraphBuilder, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """State: as Adam's, and the largest v."""
    return adam.build(op, gradients, hyper, state, amsgrad=True)
