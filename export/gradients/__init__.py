"""Gradient rules, one family of operators a file.

A rule takes the operations to append to, the node, and the adjoint of each of its outputs; it
returns one adjoint per input, `None` where there is no gradient. An adjoint may still have the
shape broadcasting gave the output: the walk (`export.training.autodiff`) sums it back. What a rule emits
and nobody uses is pruned, so a rule need not ask which inputs are trained.

    @gradient("Mul")
    def mul(op: GraphBuilder, node: Node, dY: Value) -> Adjoints:
        A, B = node.inputs
        return [op("Mul", dY, B), op("Mul", dY, A)]
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import iter_modules

from export.graph.builder import GraphBuilder, Value
from export.graph.node import Node

Adjoints = Sequence[Value | None]
Rule = Callable[..., Adjoints]

RULES: dict[str, Rule] = {}
ZERO: set[str] = set()
"""Operators whose gradient is zero by nature: integers, comparisons, shapes. Not the same as missing."""


def gradient(*op_types: str) -> Callable[[Rule], Rule]:
    """Declare the rule of these operators."""

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


def supported() -> list[str]:
    """The operators that can be differentiated."""
    return sorted(RULES)


__all__ = ["RULES", "ZERO", "Adjoints", "GraphBuilder", "Node", "Value", "gradient", "supported", "zero_gradient"]

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")
