"""From gradients to the next parameters and state: what is done to gradients first, then the optimizer.

    accumulate   gradients of several steps are averaged; the parameters move where the scalar `apply` is 1
    clip_norm    all gradients together are scaled down to a norm of at most `clip_norm` (Pascanu et al. 2013)
    weight_decay `weight_decay` times the parameter is added to its gradient (L2, as PyTorch's SGD and Adam do)

in this order. Each is written into the graph only if it is asked for, and its number is a run-time scalar.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edge.plugins import load
from edge.ranges import complaint
from edge.specs import UpdateRule
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.optimizers import Hyper, Next, State

APPLY, CLIP, DECAY = "apply", "clip_norm", "weight_decay"


@dataclass(frozen=True)
class Update(UpdateRule):
    """An optimizer by name, and what is done to gradients first; None where nothing is."""

    weight_decay: float | None = None
    accumulate: bool = False

    def hyper(self) -> dict[str, float]:
        """List the run-time scalars with their defaults.

        Returns:
            By name: those of the optimizer, and those of what comes before it.

        Raises:
            ConfigError: no such optimizer.
            ExportError: a number out of range.
        """
        optimizer: dict[str, float] = load("export.optimizers", self.optimizer).HYPER
        settings = {CLIP: self.clip_norm, DECAY: self.weight_decay}
        for name, value in settings.items():
            if value is not None and complaint(name, value):
                raise ExportError(f"{name} must be a positive number, not {value:g}")
        chosen = {name: value for name, value in settings.items() if value is not None}
        return {**optimizer, **chosen, **({APPLY: 1.0} if self.accumulate else {})}

    def build(self, op: GraphBuilder, gradients: Mapping[Value, Value], hyper: Hyper, state: State) -> Next:
        """Append the update.

        Args:
            op: the graph.
            gradients: parameter -> its gradient, of the same shape.
            hyper: name of a run-time scalar -> its value in the graph.
            state: declares a state tensor (`export.optimizers`).

        Returns:
            The next value of every parameter and state tensor.
        """
        module = load("export.optimizers", self.optimizer)
        sums: Next = {}
        if self.accumulate:
            gradients, sums = _accumulated(op, gradients, state)
        if self.clip_norm is not None:
            gradients = _clipped(op, gradients, hyper[CLIP])
        if self.weight_decay is not None and DECAY not in module.HYPER:
            gradients = {p: op("Add", g, op("Mul", p, hyper[DECAY])) for p, g in gradients.items()}
        following: Next = module.build(op, gradients, hyper, state)
        if not self.accumulate:
            return following
        now = op("Greater", hyper[APPLY], op.like(hyper[APPLY], 0.5))
        moved = {old: op("Where", now, new, old) for old, new in following.items()}
        return moved | {old: op("Where", now, op.like(new, 0), new) for old, new in sums.items()}


def squared_norm(op: GraphBuilder, values: Iterable[Value]) -> Value:
    """Append the sum of the squares of all elements of all values, a scalar."""
    return op("Sum", *(_square(op, value) for value in values))


def squared_bound(op: GraphBuilder, values: Iterable[Value]) -> Value:
    """Append an upper bound of `squared_norm`, not finite where a value is not.

    |A B| <= |A| |B| (Frobenius), so that the gradient of a linear layer need not be read, nor even be in memory: the
    batch's activations and adjoints are smaller. Measured on mlp:200 at batch 1: 8 % of a step instead of 17 %.
    """
    squares = []
    for value in values:
        product = op.producer(value)
        if product is not None and product.op_type == "Gemm" and len(product.input) == 2:
            squares.append(op("Mul", *(_square(op, x) for x in product.input)))
        else:
            squares.append(_square(op, value))
    return op("Sum", *squares)


def _square(op: GraphBuilder, value: Value) -> Value:
    return op("ReduceSumSquare", value, keepdims=0)


def _accumulated(op: GraphBuilder, gradients: Mapping[Value, Value], state: State) -> tuple[Next, Next]:
    """(mean gradients since the last move, the next count and sums if there is no move now)."""
    count = state("accumulated", None)
    steps = op("Add", count, op.like(count, 1))
    sums = {p: (held := state("accumulated", p), op("Add", held, g)) for p, g in gradients.items()}
    means = {p: op("Div", total, steps) for p, (_, total) in sums.items()}
    return means, {count: steps} | dict(sums.values())


def _clipped(op: GraphBuilder, gradients: Mapping[Value, Value], limit: Value) -> Next:
    """G min(1, limit / |all g|); the small number keeps a gradient of zeros at zero, as PyTorch does."""
    norm = op("Sqrt", squared_norm(op, gradients.values()))
    scale = op("Min", op("Div", limit, op("Add", norm, op.like(norm, 1e-6))), op.like(norm, 1))
    return {p: op("Mul", g, scale) for p, g in gradients.items()}
