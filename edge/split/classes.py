"""Give every device exactly K classes, and every class about equally many devices."""

from collections.abc import Mapping

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import SplitSpec
from edge.split import number


def split(
    argument: str, y: Array, _columns: Mapping[str, Array], devices: int, random: np.random.Generator
) -> list[Array]:
    """Deal out the classes in turn from a shuffled deck, so that all are covered first. argument: K."""
    labels = np.unique(y)
    k = int(number("classes", argument, int))
    if k > len(labels):
        raise ConfigError(f"split 'classes:{k}': there are only {len(labels)} classes")
    if k * devices < len(labels):
        raise ConfigError(f"split 'classes:{k}': {devices} devices of {k} classes cannot cover {len(labels)} classes")
    held = _deal(len(labels), k, devices, random)
    shares: list[list[Array]] = [[] for _ in range(devices)]
    for c, label in enumerate(labels):
        holders = [i for i in range(devices) if c in held[i]]
        rows = random.permutation(np.flatnonzero(y == label))
        if len(rows) < len(holders):
            raise ConfigError(f"split 'classes:{k}': class {label} has {len(rows)} rows for {len(holders)} devices")
        for holder, part in zip(holders, np.array_split(rows, len(holders)), strict=True):
            shares[holder].append(part)
    return [np.concatenate(parts) for parts in shares]


def _deal(classes: int, k: int, devices: int, random: np.random.Generator) -> list[set[int]]:
    """Choose K different classes for each device; the numbers of devices per class differ by at most one.

    Classes that were dealt least come first, in random order, so that the K of a device always differ.
    """
    dealt = np.zeros(classes, np.int64)
    hands = []
    for _ in range(devices):
        hand = np.lexsort((random.random(classes), dealt))[:k]
        dealt[hand] += 1
        hands.append(set(hand.tolist()))
    return hands


SPEC = SplitSpec(split=split)
