"""`largest`: the largest probability to the fourth power."""

import numpy as np

from edge.interfaces import Array
from edge.weighting import Opinion, WeightingSpec


def weigh(opinion: Opinion) -> Array:
    """See the module."""
    largest: Array = np.clip(opinion.probabilities, 0, 1).max(axis=1, keepdims=True).astype(np.float64) ** 4
    return largest


SPEC = WeightingSpec(weigh=weigh)
