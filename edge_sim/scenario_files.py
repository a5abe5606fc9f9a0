"""Scenarios from files and flags: read, put together, and checked.

Python has `Scenario` itself, which `edge_sim.run` checks alike.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge import config
from edge.config import checked, merged, read_toml
from edge.protocols import PROTOCOLS
from edge_sim import requirements
from edge_sim.scenario import Scenario

QUESTION = ("question", "variants", "grid", "expect", "seeds")
"""keys of a scenario file that are about its question (`edge_sim.study`)"""


def read(path: Path | None, flags: Mapping[str, Any]) -> Scenario:
    """Read a scenario from a file (if any), with the flags given on the command line on top.

    What the file says of a question (`edge_sim.study`) is for `edge-sim sweep`.

    Raises:
        ConfigError: naming every bad key.
    """
    values = read_toml(path) if path else {}
    own = {key: value for key, value in values.items() if key not in QUESTION}
    origin = str(path) if path else "edge-sim"
    return validated(merged(current(own, origin), current(flags, "flags")), origin)


def current(values: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Put a scenario's plain values under today's keys, so that tables of different ages can be merged."""
    result = config.current(values, Scenario.RENAMED, origin)
    if isinstance(settings := result.get("settings"), Mapping):
        result["settings"] = {name: _current_settings(name, table, origin) for name, table in settings.items()}
    return result


def _current_settings(protocol: str, table: Any, origin: str) -> Any:
    """The same for the settings of a protocol; what is none is refused later, with everything else."""
    if protocol not in PROTOCOLS.names() or not isinstance(table, Mapping):
        return table
    return config.current(table, PROTOCOLS.load(protocol).renamed, f"{origin}: settings.{protocol}")


def validated(values: Mapping[str, Any], origin: str) -> Scenario:
    """Make a scenario that can be run. Raises ConfigError: with everything that is wrong with it."""
    scenario = checked(Scenario, values, origin)
    requirements.require(scenario, origin)
    return scenario
