"""How the rows of a data set are divided among devices, one way a file.

A file has `split(argument, y, columns, devices, random) -> row numbers per device`; the argument is
what follows the colon, as in "classes:4".
"""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.plugins import load


def divide(spec: str, y: Array, columns: Mapping[str, Array], devices: int, seed: int) -> list[Array]:
    """Divide rows 0 .. n-1 among `devices`: disjoint, every device at least one, the same for a seed.

    Args:
        spec: iid, classes:K, dirichlet:A, by:COLUMN.
        y: (n,) labels.
        columns: further arrays (n,) that `by` can divide on.
        devices: how many.
        seed: of all randomness.

    Raises:
        ConfigError: unknown, or impossible for these rows.
    """
    name, _, argument = spec.partition(":")
    if len(y) < devices:
        raise ConfigError(f"split '{spec}': {len(y)} rows are too few for {devices} devices")
    random = np.random.default_rng([seed, devices])
    shares: list[Array] = load("edge.split", name).split(argument, y, columns, devices, random)
    if empty := [i for i, share in enumerate(shares) if not len(share)]:
        raise ConfigError(f"split '{spec}': nothing is left for device {empty[0]}; use fewer devices or another split")
    return [np.sort(share) for share in shares]


def number(spec: str, argument: str, kind: type[int] | type[float]) -> float:
    """The argument as a positive number."""
    try:
        value = kind(argument)
    except ValueError:
        value = kind(0)
    if not 0 < value < float("inf"):
        raise ConfigError(f"split '{spec}:{argument}' needs a positive number after the colon")
    return value
