"""Divide by a column, as the data are in nature: one user, room or machine per device."""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import SplitSpec


def split(
    argument: str, _y: Array, columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Divide the values of a column evenly among the devices. argument: the column."""
    if argument not in columns:
        known = ", ".join(columns) or "none"
        raise ConfigError(f"split 'by:{argument}': the data has no such column; it has: {known}")
    values = np.unique(columns[argument])
    if len(values) < devices:
        raise ConfigError(f"split 'by:{argument}': {len(values)} values are too few for {devices} devices")
    groups = np.array_split(random.permutation(values) if len(values) > devices else values, devices)
    return [np.flatnonzero(np.isin(columns[argument], group)) for group in groups]


SPEC = SplitSpec(split=split)
