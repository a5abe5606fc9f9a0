"""Skew the labels by a Dirichlet distribution (Hsu, Qi, Brown 2019): a small A is a strong skew."""

from collections.abc import Mapping

import numpy as np

from edge.interfaces import Array
from edge.specs import SplitSpec
from edge.split import number


def split(
    argument: str, y: Array, _columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Divide each class in proportions drawn from Dirichlet(A, ..., A). argument: A.

    A device that gets nothing takes a row from the largest share, so that every device can train.
    """
    concentration = number("dirichlet", argument, float)
    shares: list[list[int]] = [[] for _ in range(devices)]
    for label in np.unique(y):
        rows = random.permutation(np.flatnonzero(y == label))
        parts = random.dirichlet(np.full(devices, concentration))
        cuts = np.rint(np.cumsum(parts)[:-1] * len(rows)).astype(np.int64)
        for share, part in zip(shares, np.split(rows, cuts), strict=True):
            share.extend(part.tolist())
    for share in shares:
        if not share:
            share.append(max(shares, key=len).pop())
    return [np.array(share, np.int64) for share in shares]


SPEC = SplitSpec(split=split)
