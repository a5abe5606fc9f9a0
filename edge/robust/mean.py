"""Everybody is aggregated: what the papers do."""

from edge.errors import ConfigError
from edge.interfaces import Aggregation, PrivacyClass, everybody
from edge.specs import AggregationSpec


def rule(argument: str, _classes: int | None) -> Aggregation:
    """Takes no argument."""
    if argument:
        raise ConfigError(f"aggregation 'mean:{argument}': mean takes no argument")
    return everybody


SPEC = AggregationSpec(rule=rule, applies=frozenset(PrivacyClass))
