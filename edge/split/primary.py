"""Give every device K primary labels, whose samples it receives with 1 + S times the probability of other devices.

This is the skew of Zhmoginov et al. 2023 (MHD): S = 0 is IID, S = 100 nearly disjoint.
"""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import SplitSpec
from edge.split import number


def split(
    argument: str, y: Array, _columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Draw the primary labels of each device independently. argument: K:S."""
    first, colon, second = argument.partition(":")
    labels = np.unique(y)
    k = int(number("primary", first, int))
    try:
        skew = float(second) if colon else -1.0
    except ValueError:
        skew = -1.0
    if k > len(labels) or not 0 <= skew < float("inf"):
        raise ConfigError(
            f"split 'primary:{argument}': expected primary:K:S with K of the {len(labels)} labels and a skew S from 0"
        )
    weights = np.ones((devices, len(labels)))
    for row in weights:
        row[random.choice(len(labels), k, replace=False)] += skew
    chances = weights / weights.sum(axis=0)
    owners = np.empty(len(y), np.int64)
    for c, label in enumerate(labels):
        rows = np.flatnonzero(y == label)
        owners[rows] = random.choice(devices, len(rows), p=chances[:, c])
    return [np.flatnonzero(owners == i) for i in range(devices)]


SPEC = SplitSpec(split=split)
