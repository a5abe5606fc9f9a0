"""AdamW (Loshchilov and Hutter, 2019): Adam, with weight decay apart from the gradient.

p <- (1 - lr weight_decay) p before Adam's own step.
"""

from collections.abc import Mapping

from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State, adam

HYPER = {**adam.HYPER, "weight_decay": 0.01}


def build(op: GraphBuilder, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """State: as Adam's."""
    return adam.build(op, gradients, hyper, state, decay=True)
