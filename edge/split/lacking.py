"""Give every device SIZE random samples, but at most N of each of K random labels: Jeong et al. 2018."""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import SplitSpec


def split(
    argument: str, y: Array, _columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Cut K labels of each share down to N samples. argument: K:N:SIZE; without SIZE the rows are divided evenly."""
    labels = np.unique(y)
    try:
        k, n, size = (int(part) for part in [*argument.split(":"), str(len(y) // devices)][:3])
    except ValueError:
        k = n = size = -1
    if not (0 < k < len(labels) and n >= 0 and 0 < size * devices <= len(y)):
        raise ConfigError(
            f"split 'lacking:{argument}': expected lacking:K:N:SIZE with K of the {len(labels)} labels cut to N "
            f"samples, and {devices} x SIZE of the {len(y)} rows"
        )
    order = random.permutation(len(y))
    shares = []
    for i in range(devices):
        rows = order[i * size : (i + 1) * size]
        cut = random.choice(labels, k, replace=False)
        kept = [rows[~np.isin(y[rows], cut)], *(rows[y[rows] == label][:n] for label in cut)]
        shares.append(np.concatenate(kept))
    return shares


SPEC = SplitSpec(split=split)
