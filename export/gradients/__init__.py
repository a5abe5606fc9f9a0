"""Gradient rules, one family of operators a file.

A rule takes the graph to append to, the node, and the adjoint of each of its outputs; it returns one adjoint per input,
`None` where there is no gradient. An adjoint may still have the shape that broadcasting gave the output: the walk
(`export.training.autodiff`) sums it back. What a rule appends and nothing uses is pruned, so a rule need not ask which
inputs are trained.

    @gradient("Mul")
    def mul(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
        A, B = node.inputs
        return [op("Mul", dY, B), op("Mul", dY, A)]

What an operator costs stands beside its rule, where that is more than element-wise work (`macs`).

>>> import numpy as np
>>> op = GraphBuilder(18)
>>> x, dY = (op.argument(name, np.float32, ["N", 3]) for name in ("x", "dY"))
>>> y = op("Sigmoid", x)
>>> dX = RULES["Sigmoid"](op, GraphNode(op, op.producer(y), [True]), dY)
>>> [node.op_type for node in op.nodes], dX == [op.nodes[-1].output[0]]
(['Sigmoid', 'Sub', 'Mul', 'Mul'], True)
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules

from export.graph.builder import GraphBuilder, Value
from export.graph.node import GraphNode

Adjoints = Sequence[Value | None]
Rule = Callable[..., Adjoints]
Size = tuple[int, ...]
Count = Callable[[GraphNode, Sequence[Size], Size], int]

RULES: dict[str, Rule] = {}
ZERO: set[str] = set()
"""Operators whose gradient is zero by nature: integers, comparisons, shapes. Not the same as missing."""
MACS: dict[str, Count] = {}
"""Operators that multiply and accumulate; all others count as element-wise."""


def gradient(*op_types: str) -> Callable[[Rule], Rule]:
    """Declare the gradient rule of these operators.

    Args:
        op_types: operators of the standard domain.

    Returns:
        A decorator for `rule(op, node, *adjoints) -> Adjoints`.

    Raises:
        ValueError: one of them has a rule already.
    """

    def declare(rule: Rule) -> Rule:
        for op_type in op_types:
            if op_type in RULES or op_type in ZERO:
                raise ValueError(f"{op_type} has a gradient rule already")
            RULES[op_type] = rule
        return rule

    return declare


def zero_gradient(*op_types: str) -> None:
    """Declare that nothing flows back through these operators."""
    ZERO.update(op_types)


def macs(*op_types: str) -> Callable[[Count], Count]:
    """Declare how many multiply-accumulates these operators take.

    Args:
        op_types: operators of the standard domain.

    Returns:
        A decorator for `count(node, inputs, output) -> int`; inputs and output are sizes, all known, () where an
        optional operand is left out.
    """

    def declare(count: Count) -> Count:
        MACS.update(dict.fromkeys(op_types, count))
        return count

    return declare


def supported() -> list[str]:
    """The operators that can be differentiated, sorted."""
    return sorted(RULES)


__all__ = ["MACS", "RULES", "ZERO", "Adjoints", "GraphBuilder", "GraphNode", "Size", "Value", "gradient", "macs"]
__all__ += ["supported", "zero_gradient"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
