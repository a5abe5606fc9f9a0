"""A naturally non-IID split: one device a user, a room, a machine."""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array


def split(
    argument: str, _y: Array, columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Argument: a column. Its values are divided among the devices, as evenly as their number allows."""
    if argument not in columns:
        known = ", ".join(columns) or "none"
        raise ConfigError(f"split 'by:{argument}': the data has no such column; it has: {known}")
    values = np.unique(columns[argument])
    if len(values) < devices:
        raise ConfigError(f"split 'by:{argument}': {len(values)} values are too few for {devices} devices")
    groups = np.array_split(random.permutation(values) if len(values) > devices else values, devices)
    return [np.flatnonzero(np.isin(columns[argument], group)) for group in groups]
