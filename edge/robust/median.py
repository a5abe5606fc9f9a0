"""The coordinate-wise median of what all sent, ours included (Yin et al., ICML 2018).

Holds as long as fewer than half of those we hear, ourselves included, lie.
"""

from collections.abc import Mapping

from edge.interfaces import Aggregation, Floats, NodeId
from edge.robust import everywhere, nothing, stack, trimmed
from edge.specs import AggregationSpec


def rule(argument: str, _classes: int | None) -> Aggregation:
    """Takes no argument."""
    nothing("median", argument)
    return aggregate


def aggregate(tables: Mapping[NodeId, Floats], own: Floats | None) -> dict[NodeId, Floats]:
    """The median, from every neighbour."""
    return everywhere(tables, trimmed(stack(tables, own), 0.5)) if tables else {}


SPEC = AggregationSpec(rule=rule)
