"""Scenario files: read, merged with flags, and checked.

`edge-sim` and `edge-bench` read scenarios here; Python has `Scenario` itself, which `edge_sim.run` checks alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge import config
from edge.config import checked, read_toml
from edge_sim import requirements
from edge_sim.scenario import Scenario

KEYS = ("question", "variants", "grid", "expect", "seeds")
"""of a scenario file that are about its question (`edge_sim.study`)"""


def read(path: Path | None, flags: Mapping[str, Any]) -> Scenario:
    """Read a scenario from a file (if any), with the flags given on the command line on top.

    What the file says of a question (`edge_sim.study`) is for `edge-sim sweep`.

    Raises:
        ConfigError: naming every bad key.
    """
    values = read_toml(path) if path else {}
    own = {key: value for key, value in values.items() if key not in KEYS}
    origin = str(path) if path else "edge-sim"
    return validated(merged(current(own, origin), current(flags, "flags")), origin)


def current(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Put a scenario's plain values under today's keys, so that tables of different ages can be merged."""
    return config.current(values, Scenario.RENAMED, origin)


def merged(values: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on top: tables are merged, everything else is replaced."""
    result = dict(values)
    for key, value in over.items():
        inner = result.get(key)
        result[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return result


def validated(values: Mapping[str, Any], origin: str) -> Scenario:
    """Make a scenario that can be run. Raises ConfigError: with everything that is wrong with it."""
    scenario = checked(Scenario, values, origin)
    requirements.require(scenario, origin)
    return scenario
