"""`agreement`: a neighbour counts as far as it agrees with us and with the other neighbours, class by class.

No hard limit and no number to set. Of us and our neighbours, i's agreement with j about class k is the mean overlap
sum_l min(p_i(l), p_j(l)) of their opinions over the rows that i or j calls k, each weighted by how sure both are of it.
Who has to be believed is not known; but with a minority of liars, half of the others at least are honest. So j's score
is how far the half that agrees with it most does at least (the lower median over i). Of its row r we take

    own(r) + lambda_j(r) (row_j(r) - own(r)),    lambda_j(r) = min(1, a_j(r) / 0.7)^4

with a_j(r) the mean of score_j(k) / max_i score_i(k) over the classes k that all but j see in the row, or over those
that j does, whichever is less. As in centred clipping (Karimireddy, He, Jaggi, ICML 2021; among peers He, Karimireddy,
Jaggi 2022), a liar is not left out but cannot move us far, and what it is not trusted with stays ours. Two more bounds:
nobody is surer, on the whole, than we or the median of the others are; and no row is further from ours than two
distributions can be.
"""

from collections.abc import Mapping

import numpy as np

from edge.interfaces import Aggregation, Array, Floats, NodeId
from edge.robust import nothing
from edge.specs import AggregationSpec

ALIKE = 0.7
"""who agrees this many times as much as whoever agrees most counts fully"""
POWER = 4
PRIOR = 0.1
"""a class about which little is known is judged as all are: as if there were this part of an average class more"""
JUDGES = 17
"""of more, so many are compared with all, ourselves included: who is judged by nine honest ones is judged well"""
FARTHEST = 2.0
"""sum of absolute differences of two distributions, at most"""
SMALLEST = 1e-12


def rule(argument: str, classes: int | None) -> Aggregation:
    """Takes no argument."""
    nothing("agreement", argument)

    def aggregate(tables: Mapping[NodeId, Floats], own: Floats | None) -> dict[NodeId, Floats]:
        if not tables:
            return {}
        everyone = np.stack([*tables.values(), *([] if own is None else [own])]).astype(np.float64)
        rows = modest(everyone, classes or everyone.shape[2])
        opinions, weights = taken_apart(rows, classes or everyone.shape[2])
        trust = trusts(standing(opinions, weights), opinions, weights)
        about: Array = (everyone != 0).any(axis=2, keepdims=True)
        centre = np.where(about[-1], everyone[-1], _mean(rows, trust)) if own is not None else _mean(rows, trust)
        return {
            j: np.where(about[i], _towards(rows[i], centre, trust[i]), 0).astype(np.float32)
            for i, j in enumerate(tables)
        }

    return aggregate


def taken_apart(rows: Array, classes: int) -> tuple[Array, Array]:
    """Opinions (n, R, K), uniform where there is none, and their weights (n, R), of rows (n, R, K or K + 1)."""
    parts = np.clip(rows[:, :, :classes], 0, 1)
    weights: Array = parts.sum(axis=2)
    certain = weights[:, :, None] > SMALLEST
    return np.where(certain, parts / np.where(certain, weights[:, :, None], 1), 1 / classes), np.minimum(weights, 1)


def modest(rows: Array, classes: int) -> Array:
    """Rows (n, R, K + 1) whose opinions weigh, on average, no more than the last's or the median of the others'."""
    if rows.shape[2] == classes:
        return rows
    mean = taken_apart(rows, classes)[1].mean(axis=1)
    most = [max(mean[-1], float(np.median(np.delete(mean, i)))) for i in range(len(mean))]
    factor = np.minimum(1, most / np.maximum(mean, SMALLEST))[:, None, None]
    opinions = rows[:, :, :classes] * factor
    rest = rows[:, :, classes:] + rows[:, :, :classes].sum(axis=2, keepdims=True) - opinions.sum(axis=2, keepdims=True)
    return np.where(factor < 1, np.concatenate([opinions, rest], axis=2), rows)


def standing(opinions: Array, weights: Array) -> Array:
    """(n, K): the score of each about each class over the best one's, see the module."""
    n, _, classes = opinions.shape
    judges = np.unique(np.linspace(0, n - 1, min(n, JUDGES)).astype(int))
    agreement = np.full((len(judges), n, classes), -1.0)
    for place, i in enumerate(judges):
        others = np.arange(n) != i
        both = weights[i] * weights[others]
        overlap = np.minimum(opinions[i], opinions[others]).sum(axis=2)
        sure, same = (_about(opinions[i], opinions[others], part) for part in (both, both * overlap))
        prior = PRIOR / classes
        total = np.maximum(sure + prior * sure.sum(axis=1, keepdims=True), SMALLEST)
        agreement[place, others] = (same + prior * same.sum(axis=1, keepdims=True)) / total
    median = ((agreement >= 0).sum(axis=0) - 1) // 2
    score = np.take_along_axis(-np.sort(-agreement, axis=0), median[None], axis=0)[0]
    relative: Array = score / np.maximum(score.max(axis=0), SMALLEST)
    return relative


def _about(ours: Array, theirs: Array, part: Array) -> Array:
    """(m, K): how much of `part` (m, R) is in rows that either we (R, K) or they (m, R, K) call that class."""
    shared: Array = part @ ours + np.einsum("mr,mrk->mk", part, theirs)
    return shared


def trusts(relative: Array, opinions: Array, weights: Array) -> Array:
    """(n, R, 1), of who has such a standing (n, K) in what the others see in a row, or in what it says itself, if that
    is less."""
    weighted = opinions * weights[:, :, None]
    others = weighted.sum(axis=0) - weighted + SMALLEST
    theirs = np.einsum("nrk,nk->nr", others / others.sum(axis=2, keepdims=True), relative)
    own = np.einsum("nrk,nk->nr", opinions, relative)
    trust: Array = np.minimum(1, np.minimum(theirs, own) / ALIKE)[:, :, None] ** POWER
    return trust


def _mean(rows: Array, trust: Array) -> Array:
    about = rows.any(axis=2, keepdims=True) * np.maximum(trust, SMALLEST)
    mean: Array = (rows * about).sum(axis=0) / np.maximum(about.sum(axis=0), SMALLEST)
    return mean


def _towards(rows: Array, centre: Array, trust: Array) -> Array:
    """From the centre towards rows, as far as they are trusted and a distribution can be."""
    difference = rows - centre
    distance = np.maximum(np.abs(difference).sum(axis=1, keepdims=True), SMALLEST)
    moved: Array = centre + trust * np.minimum(1, FARTHEST / distance) * difference
    return moved


SPEC = AggregationSpec(rule=rule)
