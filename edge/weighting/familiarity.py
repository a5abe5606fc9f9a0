"""`familiarity`: how near a row is to the device's own samples, which its outputs cannot tell.

Selective-FD (Shao et al., Nature Communications 2024) and EdgeFD ask for a density or a distance of the inputs. Here w
is exp(-(d / s)^2): d the distance of a row to the nearest of the device's samples, s the median distance of those
samples to the nearest other one, all in the space of the model's embedding, or of the inputs if the model names none.
"""

import numpy as np

from edge.interfaces import Array
from edge.weighting import Opinion, WeightingSpec

MOST = 1000
"""samples that are compared with; of more, every so many-th"""
BLOCK = 256
"""rows that are compared at a time"""


def weigh(opinion: Opinion) -> Array:
    """See the module."""
    private = _flat(opinion.private())
    private = private[:: -(-len(private) // MOST)]
    reference = _flat(opinion.reference())
    spread = np.median(_nearest(private, private, own=True)) if len(private) > 1 else 0.0
    distance = _nearest(reference, private, own=False)
    scale = spread if spread > 0 else max(float(np.median(distance)), 1e-12)
    weights: Array = np.exp(-((distance / scale) ** 2))[:, None]
    return weights


def _flat(samples: Array) -> Array:
    return samples.reshape(len(samples), -1).astype(np.float64)


def _nearest(rows: Array, others: Array, own: bool) -> Array:
    """(n,) the Euclidean distance of each row to the nearest other. own: the rows are the others, itself aside."""
    squares = (others**2).sum(axis=1)
    parts = []
    for at in range(0, len(rows), BLOCK):
        part = rows[at : at + BLOCK]
        squared = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ others.T
        if own:
            squared[np.arange(len(part)), at + np.arange(len(part))] = np.inf
        parts.append(np.sqrt(np.maximum(squared.min(axis=1), 0)))
    return np.concatenate(parts)


SPEC = WeightingSpec(weigh=weigh)
