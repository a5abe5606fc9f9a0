"""What a plug-in says about itself: the fields of the `SPEC` in its file."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edge.interfaces import Aggregation, Array, PrivacyClass

DISTRIBUTIONS = frozenset({PrivacyClass.DISTRIBUTION})


@dataclass(frozen=True, kw_only=True)
class AggregationSpec:
    """A rule of which neighbours' messages are mixed (`edge.robust`).

    rule: from what follows the colon in the setting; raises ConfigError. applies: the classes of messages it is for.
    """

    rule: Callable[[str], Aggregation]
    applies: frozenset[PrivacyClass] = DISTRIBUTIONS


@dataclass(frozen=True, kw_only=True)
class NoiseSpec:
    """A distribution of noise (`edge.privacy`).

    draw: (scale, shape, random) -> float64 of that shape. sensitivity: how far so many rows of one device can move, in
    the norm that the distribution is calibrated to. applies: the classes of messages it is for.
    """

    draw: Callable[[float, tuple[int, ...], np.random.Generator], Array]
    sensitivity: Callable[[int], float]
    applies: frozenset[PrivacyClass] = DISTRIBUTIONS
