"""Everybody is aggregated: what the papers do."""

from edge.interfaces import Aggregation, PrivacyClass, everybody
from edge.robust import nothing
from edge.specs import AggregationSpec


def rule(argument: str, _classes: int | None) -> Aggregation:
    """Takes no argument."""
    nothing("mean", argument)
    return everybody


SPEC = AggregationSpec(rule=rule, applies=frozenset(PrivacyClass))
