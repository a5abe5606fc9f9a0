"""Aggregation rules: which of the neighbours' messages a device mixes, and as what; one rule a file.

A file has `SPEC = AggregationSpec(rule=...)`. `rule(argument, classes)` checks what follows the colon
("trimmed-mean:0.25") and gives

    aggregate(tables, own) -> tables

with tables: what neighbours sent of one kind in one round, sender -> (R, K) float32, and own what this device sent
itself, or None where it sends nothing of that kind (a server). Of weighted opinions (`edge.weighting`) rows have an
entry more than there are classes, the abstention. A row of zeros is about nothing (a label that its sender does not
have) and counts for nothing. What is left out is rejected; what is returned is mixed as if it had been sent.
So any protocol whose messages are distributions takes any rule.

>>> sent = {"a": [[0.875, 0.125]], "b": [[0.75, 0.25]], "c": [[0.0, 1.0]]}
>>> tables = {sender: np.array(rows, np.float32) for sender, rows in sent.items()}
>>> load("median")(tables, None)["a"].tolist()
[[0.75, 0.25]]
"""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Aggregation, Array, Floats, NodeId, everybody
from edge.plugins import Family
from edge.specs import AggregationSpec

AGGREGATIONS = Family("edge.robust", AggregationSpec, "aggregation rule")


def find(setting: str) -> AggregationSpec:
    """Look up the rule that a setting names. Raises ConfigError: unknown."""
    return AGGREGATIONS.load(setting.partition(":")[0])


def load(setting: str, classes: int | None = None) -> Aggregation:
    """Make the rule of a setting.

    Args:
        setting: name and argument, e.g. "trimmed-mean:0.25".
        classes: K, for rules to which abstention is not just one more class; if absent, every entry is a class.

    Returns:
        The rule. A single message, a centre's or an only neighbour's, cannot be compared with others: it is not applied
        to that.

    Raises:
        ConfigError: unknown, or a number that cannot be.
    """
    rule = find(setting).rule(setting.partition(":")[2], classes)
    if rule is everybody:
        return everybody
    return lambda tables, own: rule(tables, own) if len(tables) > 1 else dict(tables)


def nothing(spec: str, argument: str) -> None:
    """Check that a rule has no argument. Raises ConfigError."""
    if argument:
        raise ConfigError(f"aggregation '{spec}:{argument}': {spec} takes no argument")


def number(spec: str, argument: str, low: float, high: float) -> float:
    """The argument, if it is at least `low` and below `high`. Raises ConfigError."""
    try:
        value = float(argument)
    except ValueError:
        value = np.nan
    if not low <= value < high:
        raise ConfigError(
            f"aggregation '{spec}:{argument}': expected {spec}:X with X from {low:g} to less than {high:g}"
        )
    return value


def stack(tables: Mapping[NodeId, Floats], own: Floats | None) -> Array:
    """(tables, R, K) float64 of all, our own included; NaN in rows that are about nothing."""
    stacked = np.stack([*tables.values(), *([] if own is None else [own])]).astype(np.float64)
    stacked[~stacked.any(axis=2)] = np.nan
    return stacked


def trimmed(stacked: Array, share: float) -> Array:
    """Means of (n, R, K) without ceil(share n) at either end of each coordinate, but never without all -> (R, K).

    NaN counts for nothing. A share of a half leaves the median.
    """
    ordered = np.sort(stacked, axis=0)  # NaN goes last
    count = (~np.isnan(ordered)).sum(axis=0)
    cut = np.minimum(np.ceil(share * count), (count - 1) // 2)
    place = np.arange(len(ordered))[:, None, None]
    kept = (place >= cut) & (place < count - cut)
    mean: Array = np.where(kept, ordered, 0).sum(axis=0) / np.maximum(kept.sum(axis=0), 1)
    return mean


def everywhere(tables: Mapping[NodeId, Floats], shared: Array) -> dict[NodeId, Floats]:
    """`shared` (R, K) in place of every row that was about something, its rows summing to 1."""
    shared = np.nan_to_num(shared)
    total = shared.sum(axis=1, keepdims=True)
    scaled = np.where((shared >= 0).all(axis=1, keepdims=True) & (total > 0), shared / np.where(total > 0, total, 1), 0)
    moved = shared + (1 - total) / shared.shape[1]
    fitted = np.where(scaled.any(axis=1, keepdims=True), scaled, moved)
    return {j: np.where(t.any(axis=1, keepdims=True), fitted, 0).astype(np.float32) for j, t in tables.items()}
