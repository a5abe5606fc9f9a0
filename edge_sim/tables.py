"""Scenario files as plain tables, before they are checked."""

from collections.abc import Mapping
from typing import Any

KEYS = ("question", "variants", "grid", "expect", "seeds")
"""of a scenario file that are about its question (`edge_sim.study`)"""


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return `values` with `over` laid on top: tables are merged, everything else is replaced.

    >>> merged({"coding": {"weights": "float32"}}, {"coding": {"soft_labels": "float16"}})
    {'coding': {'weights': 'float32', 'soft_labels': 'float16'}}
    """
    result = dict(values)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result
