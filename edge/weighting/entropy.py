"""`entropy`: (1 - H(p) / ln K)^4, how far an opinion is from a guess; 0 for the uniform distribution, 1 for certainty.

H is the entropy in nats. The power keeps the many who hardly know from outvoting the one who does.
"""

import numpy as np

from edge.interfaces import Array
from edge.weighting import Opinion, WeightingSpec

POWER = 4


def weigh(opinion: Opinion) -> Array:
    """See the module."""
    p = np.clip(opinion.probabilities, 1e-12, 1).astype(np.float64)
    entropy = -(p * np.log(p)).sum(axis=1, keepdims=True)
    weights: Array = np.clip(1 - entropy / np.log(p.shape[1]), 0, 1) ** POWER
    return weights


SPEC = WeightingSpec(weigh=weigh)
