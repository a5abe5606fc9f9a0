"""Whether a device has learnt anything: its accuracy against chance, and whether its loss has fallen.

What is found is numbers by key, as telemetry has them, and `sentences` puts them into words.

>>> y = np.array([0, 0, 0, 1])
>>> outcome = judge(0.76, y, classes=2, losses=[0.7] * 9)
>>> outcome
{'at_chance': 0.75, 'loss_not_fallen': 0.7}
>>> sentences(outcome, accuracy=0.76, loss=0.7)[0]
'its accuracy of 0.760 is that of chance (0.750)'
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from statistics import median

import numpy as np

from edge.interfaces import Array

CLOSE = 0.02
"""An accuracy at most so far above chance is none."""
LEAST_ROUNDS = 6
"""Rounds that a loss is judged by, at least."""
SUPERVISED = "loss/cross_entropy"
AT_CHANCE, NOT_FALLEN = "at_chance", "loss_not_fallen"
"""Keys of telemetry in the last row: the accuracy of chance; the loss of the first round."""


def chance(y: Array, classes: int) -> float:
    """Return the accuracy that needs no learning: of guessing, or of always naming the most frequent class.

    Args:
        y: (n,) class numbers of the test samples, n at least 1.
        classes: K.
    """
    return max(1 / classes, float(np.bincount(y.astype(np.int64)).max()) / len(y))


def supervised_loss(row: Mapping[str, float]) -> float | None:
    """Return the loss on a device's own labels, of its row of a round; of all terms if that is not in it.

    What a device distils towards moves, so that the other terms may well rise while it learns.
    """
    return row.get(SUPERVISED, row.get("loss"))


def judge(accuracy: float | None, y: Array, classes: int, losses: Sequence[float]) -> dict[str, float]:
    """Judge a device at the end of its run.

    Args:
        accuracy: on the test samples; None if there are none.
        y: (n,) their class numbers; of another kind where the model is no classifier, which has no chance.
        classes: K.
        losses: of all its rounds, in their order; rounds without training may be left out.

    Returns:
        AT_CHANCE, with the accuracy of chance, if the accuracy is at most CLOSE above it; NOT_FALLEN, with the loss of
        the first round, if the median of the last third of the losses is not below it. Empty if all is well.
    """
    outcome: dict[str, float] = {}
    if accuracy is not None and len(y) and y.ndim == 1 and y.dtype.kind in "iu":
        level = chance(y, classes)
        outcome |= {AT_CHANCE: level} if accuracy <= level + CLOSE else {}
    if len(losses) >= LEAST_ROUNDS:
        last = median(losses[-(len(losses) // 3) :])
        if isfinite(losses[0]) and not last < losses[0]:
            outcome[NOT_FALLEN] = losses[0]
    return outcome


def sentences(row: Mapping[str, float], accuracy: float | None, loss: float | None) -> list[str]:
    """Put into words what `judge` found.

    Args:
        row: its result, or a row of telemetry that holds it.
        accuracy: of the device.
        loss: of its last round.

    Returns:
        A sentence for each finding; none if all is well.
    """
    lines = []
    if AT_CHANCE in row:
        reached = "" if accuracy is None else f" of {accuracy:.3f}"
        lines.append(f"its accuracy{reached} is that of chance ({row[AT_CHANCE]:.3f})")
    if NOT_FALLEN in row:
        now = "" if loss is None else f", {loss:.3g} in the last"
        lines.append(f"its loss has not fallen ({row[NOT_FALLEN]:.3g} in the first round{now})")
    return lines
