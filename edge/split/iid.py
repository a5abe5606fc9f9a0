"""Divide the rows at random into equal shares."""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import SplitSpec


def split(
    argument: str, y: Array, _columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Shuffle the rows and cut them evenly. No argument."""
    if argument:
        raise ConfigError(f"split 'iid:{argument}': iid takes no argument")
    return np.array_split(random.permutation(len(y)), devices)


SPEC = SplitSpec(split=split)
