"""`trimmed-mean:X`: the mean without the largest and the smallest values of every coordinate (Yin et al., ICML 2018).

Of n that we hear, ourselves included, ceil(X n) are left out at either end, but never all.
"""

from collections.abc import Mapping

from edge.interfaces import Aggregation, Floats, NodeId
from edge.robust import everywhere, number, stack, trimmed
from edge.specs import AggregationSpec


def rule(argument: str, _classes: int | None) -> Aggregation:
    """X, from 0 to less than 0.5; 0.25 if none is given."""
    share = number("trimmed-mean", argument or "0.25", 0, 0.5)

    def aggregate(tables: Mapping[NodeId, Floats], own: Floats | None) -> dict[NodeId, Floats]:
        return everywhere(tables, trimmed(stack(tables, own), share)) if tables else {}

    return aggregate


SPEC = AggregationSpec(rule=rule)
