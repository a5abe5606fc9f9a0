"""What is known of the output of an operator on sizes: one rule an operator.

A vector of sizes is a list with `None` for each entry that is known only at run time; a scalar is a list of one. A rule
takes a lookup of what is known of a value, and the node; it returns what is known of the node's output, or None if
nothing is.
"""

from collections.abc import Callable
from math import prod

from export.graph.builder import Value
from export.graph.node import GraphNode

Sizes = list[int | None]
Lookup = Callable[[Value], Sizes | None]
Rule = Callable[[Lookup, GraphNode], Sizes | None]


def complete(sizes: Sizes | None) -> list[int] | None:
    """The sizes if all are known, otherwise None."""
    return None if sizes is None or None in sizes else [s for s in sizes if s is not None]


def _shape(_: Lookup, node: GraphNode) -> Sizes:
    shape: Sizes = list(node.shape(0))
    return shape[slice(node.attr("start", 0), node.attr("end", None))]


def _size(_: Lookup, node: GraphNode) -> Sizes | None:
    shape = complete(list(node.shape(0)))
    return None if shape is None else [prod(shape)]


def _gather(known: Lookup, node: GraphNode) -> Sizes | None:
    sizes, at = known(node.inputs[0]), complete(known(node.inputs[1]))
    if sizes is None or at is None or node.attr("axis", 0) != 0:
        return None
    return [sizes[i] for i in at]


def _slice(known: Lookup, node: GraphNode) -> Sizes | None:
    sizes, bounds = known(node.inputs[0]), [complete(known(x)) for x in node.inputs[1:]]
    start, end, step = bounds[0], bounds[1], bounds[3] if len(bounds) > 3 else [1]
    if sizes is None or start is None or end is None or step is None:
        return None
    return sizes[start[0] : end[0] : step[0]]


def _concat(known: Lookup, node: GraphNode) -> Sizes | None:
    parts = [known(x) for x in node.inputs]
    return None if any(p is None for p in parts) else [s for p in parts if p is not None for s in p]


def _unchanged(known: Lookup, node: GraphNode) -> Sizes | None:
    return known(node.inputs[0])


def _arithmetic(function: Callable[[int, int], int]) -> Rule:
    def rule(known: Lookup, node: GraphNode) -> Sizes | None:
        a, b = (known(x) for x in node.inputs)
        if a is None or b is None or (1 not in (len(a), len(b)) and len(a) != len(b)):
            return None
        n = max(len(a), len(b))
        pairs = zip(a * (n // len(a)), b * (n // len(b)), strict=True)
        return [None if p is None or q is None else function(p, q) for p, q in pairs]

    return rule


SIZE_RULES: dict[str, Rule] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unchanged,
    "Squeeze": _unchanged,
    "Identity": _unchanged,
    "Cast": _unchanged,
    "Add": _arithmetic(lambda p, q: p + q),
    "Sub": _arithmetic(lambda p, q: p - q),
    "Mul": _arithmetic(lambda p, q: p * q),
    "Div": _arithmetic(lambda p, q: p // q),
}
"""By operator."""
