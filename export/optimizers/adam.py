"""Adam (Kingma and Ba, 2015), algorithm 1, with both bias corrections.

m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
p <- p - lr / (1 - b1^t) m / (sqrt(v / (1 - b2^t)) + epsilon)
"""

from collections.abc import Mapping

from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State

HYPER = {"learning_rate": 0.001, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}


def build(
    op: GraphBuilder,
    gradients: Mapping[Value, Value],
    hyper: Hyper,
    state: State,
    *,
    decay: bool = False,
    amsgrad: bool = False,
) -> Next:
    """State: m and v a parameter, and the step count t, a scalar.

    decay: shrink parameters by lr weight_decay first (AdamW). amsgrad: divide by the largest v so far,
    which is one more state a parameter.
    """
    b1, b2, rate = hyper["beta1"], hyper["beta2"], hyper["learning_rate"]
    one = op.like(b1, 1)
    t = state("step", None)
    following: Next = {t: op("Add", t, one)}
    step = op("Div", rate, op("Sub", one, op("Pow", b1, following[t])))
    root = op("Sqrt", op("Sub", one, op("Pow", b2, following[t])))
    rest1, rest2 = op("Sub", one, b1), op("Sub", one, b2)
    kept = op("Sub", one, op("Mul", rate, hyper["weight_decay"])) if decay else None
    for p, g in gradients.items():
        m, v = state("m", p), state("v", p)
        following[m] = op("Add", op("Mul", m, b1), op("Mul", g, rest1))
        following[v] = op("Add", op("Mul", v, b2), op("Mul", op("Mul", g, g), rest2))
        second = following[v]
        if amsgrad:
            largest = state("v_max", p)
            second = following[largest] = op("Max", largest, following[v])
        scale = op("Add", op("Div", op("Sqrt", second), root), hyper["epsilon"])
        start = op("Mul", p, kept) if kept else p
        following[p] = op("Sub", start, op("Mul", op("Div", following[m], scale), step))
    return following
