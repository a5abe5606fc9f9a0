"""Adam (Kingma and Ba, 2015), algorithm 1, with both bias corrections.

m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
p <- p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
"""

from collections.abc import Mapping

from export.ops import Ops, Value
from export.optimizers import Hyper, Next, State

HYPER = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


def build(op: Ops, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
    """State: m and v a parameter, and the step count t, a scalar."""
    b1, b2 = hyper["beta1"], hyper["beta2"]
    one = op.like(b1, 1)
    t = state("step", None)
    after: Next = {t: op("Add", t, one)}
    rate = op("Div", hyper["learning_rate"], op("Sub", one, op("Pow", b1, after[t])))
    root = op("Sqrt", op("Sub", one, op("Pow", b2, after[t])))
    rest1, rest2 = op("Sub", one, b1), op("Sub", one, b2)
    for p, g in gradients.items():
        m, v = state("m", p), state("v", p)
        after[m] = op("Add", op("Mul", m, b1), op("Mul", g, rest1))
        after[v] = op("Add", op("Mul", v, b2), op("Mul", op("Mul", g, g), rest2))
        scale = op("Add", op("Div", op("Sqrt", after[v]), root), hyper["epsilon"])
        after[p] = op("Sub", p, op("Mul", op("Div", after[m], scale), rate))
    return after
