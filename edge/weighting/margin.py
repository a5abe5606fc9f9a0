"""`margin`: the square of how far the largest probability is above the second."""

import numpy as np

from edge.interfaces import Array
from edge.weighting import Opinion, WeightingSpec


def weigh(opinion: Opinion) -> Array:
    """See the module."""
    two = np.sort(np.clip(opinion.probabilities, 0, 1).astype(np.float64), axis=1)[:, -2:]
    margin: Array = (two[:, 1:] - two[:, :1]) ** 2
    return margin


SPEC = WeightingSpec(weigh=weigh)
