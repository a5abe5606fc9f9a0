"""What a device says about the reference set where opinions are weighted (`edge.weighting`)."""

import numpy as np

from edge import weighting
from edge.bundle import EMBEDDING
from edge.errors import ConfigError
from edge.interfaces import Array, Engine, ProtocolContext
from edge.task import CLASSIFICATION, Task

DEFAULT = "entropy"


def chosen(name: str | None, task: Task) -> str:
    """Say how opinions are weighted.

    Args:
        name: the setting `weighting`; None for what suits the task.
        task: of the models.

    Returns:
        A name of `edge.weighting`, or `weighting.NONE`.

    Raises:
        ConfigError: outputs that are no distributions are to be weighted.
    """
    if name is None:
        return DEFAULT if task.simplex else weighting.NONE
    if name != weighting.NONE and not task.simplex:
        raise ConfigError(
            f"weighting '{name}' is for models whose outputs are distributions over classes, and this one is for "
            f"{task.name}: leave it out"
        )
    return name


def state(name: str, context: ProtocolContext, engine: Engine, probabilities: Array) -> Array:
    """Weigh a device's outputs on the reference set.

    Args:
        name: the setting `weighting`.
        context: of the device.
        engine: of its model.
        probabilities: (R, K), what the model gives.

    Returns:
        (R, K + 1) float64 statements, or without weights the outputs (R, K) float64.
    """
    if name == weighting.NONE:
        return probabilities.astype(np.float64)
    features = _embedding if context.features_shape else _inputs
    opinion = weighting.Opinion(
        probabilities.astype(np.float64),
        lambda: features(engine, context.reference_x),
        lambda: features(engine, context.x),
    )
    return weighting.statement(opinion.probabilities, weighting.load(name).weigh(opinion))


def _embedding(engine: Engine, x: Array) -> Array:
    return engine.outputs(x, EMBEDDING)[0]


def _inputs(_engine: Engine, x: Array) -> Array:
    return x


def distilled(rows: Array, classes: int, task: Task = CLASSIFICATION) -> Array:
    """Make targets of cross-entropy in which every row counts as much as weight is behind it.

    Args:
        rows: (R, K + 1), an estimate of the mean of statements, or (R, K) of outputs.
        classes: K.
        task: of the models.

    Returns:
        (R, K) float64: the first K entries, those below 0 clipped, over the mean of their sums. A row's sum is its
        share of the loss, 1 on average; without weights it is about 1 for every row. Zeros if nobody knows anything.
        Of outputs that are no distributions: the rows, but for probabilities within [0, 1].
    """
    if not task.simplex:
        return np.clip(rows, 0, 1) if task.bounded else rows
    opinions = np.clip(rows[:, :classes], 0, None)
    mean = opinions.sum() / len(rows)
    return opinions / mean if mean > weighting.SMALLEST else np.zeros_like(opinions)
