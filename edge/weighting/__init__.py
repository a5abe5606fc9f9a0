"""How much a device's opinion of a reference row counts in the fleet's consensus, one measure a file.

A file has `SPEC = WeightingSpec(weigh=...)`, with

    weigh(opinion) -> w (R, 1) in [0, 1]

The paper of every soft-label protocol here takes a plain mean, in which a device that has never seen a class counts as
much as the one that knows it. With weights, a device says (w p, 1 - w) of a row instead of p: K + 1 numbers that sum
to 1, its opinion and how far it abstains. That is a distribution again, so that everything that holds for p (the
codings, the invariants of tracking, noise) holds for it; and the mean of all such rows is (mean(w p), 1 - mean(w)),
whose first K entries, normalised, are the weighted mean sum(w p) / sum(w).

Examples:
    >>> p = np.array([[0.5, 0.5], [1.0, 0.0]])
    >>> entropy = load("entropy")
    >>> entropy.weigh(Opinion(p, nothing, nothing)).round(6).tolist()
    [[0.0], [1.0]]
    >>> rows = statement(p, np.array([[0.25], [1.0]]))
    >>> rows.tolist()
    [[0.125, 0.125, 0.75], [1.0, 0.0, 0.0]]
    >>> target(rows, 2).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from pydantic.dataclasses import dataclass as checked

from edge.interfaces import Array
from edge.plugins import Family
from edge.specs import CHECKED

NONE = "none"
"""the setting without weights: everybody counts alike, and rows are the paper's, of K entries"""
SMALLEST = 1e-9
"""a row whose weights sum to less than this is of nobody's opinion"""


@dataclass(frozen=True)
class Opinion:
    """What a weighting may look at.

    Attributes:
        probabilities: (R, K), the device's outputs on the reference rows.
        reference: makes (R, F), what the model makes of the reference rows before its last layer, or the rows
            themselves.
        private: makes (n, F), the same of the device's own samples.
    """

    probabilities: Array
    reference: Callable[[], Array]
    private: Callable[[], Array]


@checked(frozen=True, kw_only=True, config=CHECKED)
class WeightingSpec:
    """A measure of how much a device knows about a row.

    Args:
        weigh: opinion -> (R, 1) float64 in [0, 1].
    """

    weigh: Callable[[Opinion], Array]


WEIGHTINGS = Family("edge.weighting", WeightingSpec, "weighting", "murmur.weightings")


def nothing() -> Array:
    """Return no samples, for an `Opinion` of which only probabilities are known."""
    return np.empty((0, 0))


def load(name: str) -> WeightingSpec:
    """Look up a weighting. Raises ConfigError: unknown."""
    return WEIGHTINGS.load(name)


def check(name: str) -> None:
    """Raise ValueError unless a setting names a weighting or none."""
    if name != NONE and name not in WEIGHTINGS.names():
        raise ValueError(f"weighting must be one of: {', '.join([NONE, *WEIGHTINGS.names()])}; not '{name}'")


def columns(name: str, classes: int) -> int:
    """Return how many entries a row of that weighting has: K, or K + 1 with the abstention."""
    return classes + (name != NONE)


def statement(probabilities: Array, weights: Array) -> Array:
    """Join opinions and their weights.

    Args:
        probabilities: (R, K).
        weights: (R, 1) in [0, 1].

    Returns:
        (R, K + 1) float64, rows (w p, 1 - w), which sum to 1 as far as those of p do.
    """
    return np.concatenate([weights * probabilities, 1 - weights], axis=1, dtype=np.float64)


def target(rows: Array, classes: int) -> Array:
    """Read the weighted mean off a mean of statements, or off an estimate of it.

    Args:
        rows: (R, K + 1) of statements, or (R, K) of opinions without weights.
        classes: K.

    Returns:
        (R, K) float64. Of statements: their first K entries, those below 0 clipped, over their sum; all alike where
        nothing is left. Of opinions: the rows as they are, whose entries may leave [0, 1] for a while.
    """
    if rows.shape[1] == classes:
        return rows
    opinions = np.clip(rows[:, :classes], 0, None)
    total = opinions.sum(axis=1, keepdims=True)
    known = total > SMALLEST
    return np.where(known, opinions / np.where(known, total, 1), 1 / classes)
