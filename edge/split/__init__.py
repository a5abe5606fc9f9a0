"""Divide the rows of a data set among devices, one way per file.

A file has `SPEC = SplitSpec(split=...)` (`edge.specs`), with

    split(argument, y, columns, devices, random) -> row numbers per device

where `argument` is what follows the colon, as in "classes:4", and the rest is as in `divide`.

Examples:
    >>> import numpy as np
    >>> shares = divide("classes:1", np.array([0, 0, 1, 1]), {}, devices=2, seed=0)
    >>> sorted(share.tolist() for share in shares)
    [[0, 1], [2, 3]]
"""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.plugins import Family
from edge.specs import SplitSpec

SPLITS = Family("edge.split", SplitSpec, "split")


def divide(spec: str, y: Array, columns: Mapping[str, Array], devices: int, seed: int) -> list[Array]:
    """Divide the rows 0 .. n-1 among devices.

    Args:
        spec: the way and its argument: iid, classes:K, dirichlet:A, primary:K:S, lacking:K:N:SIZE, by:COLUMN.
        y: (n,) labels.
        columns: further arrays (n,) that `by` can divide on.
        devices: how many.
        seed: of all randomness.

    Returns:
        The row numbers of each device, sorted and disjoint; every device has at least one.

    Raises:
        ConfigError: an unknown way, or one that is impossible for these rows.
    """
    name, _, argument = spec.partition(":")
    if len(y) < devices:
        raise ConfigError(f"split '{spec}': {len(y)} rows are too few for {devices} devices")
    random = np.random.default_rng([seed, devices])
    shares = SPLITS.load(name).split(argument, y, columns, devices, random)
    if empty := [i for i, share in enumerate(shares) if not len(share)]:
        raise ConfigError(f"split '{spec}': nothing is left for device {empty[0]}; use fewer devices or another split")
    return [np.sort(share) for share in shares]


def number(spec: str, argument: str, kind: type[int] | type[float]) -> float:
    """Parse an argument that is a positive number.

    Args:
        spec: the way, for the error message.
        argument: what followed its colon.
        kind: int or float.

    Returns:
        The number.

    Raises:
        ConfigError: it is not a number, or not positive and finite.
    """
    try:
        value = kind(argument)
    except ValueError:
        value = kind(0)
    if not 0 < value < float("inf"):
        raise ConfigError(f"split '{spec}:{argument}' needs a positive number after the colon")
    return value
