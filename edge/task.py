"""What a model is for: the task says what its outputs are, what labels are, and how well it does.

    task            labels y               outputs                         metrics, the score first
    classification  (n,) integers          softmax (n, K)                  accuracy
    multi-label     (n, K) of 0 and 1      sigmoid (n, K)                  mean average precision, micro-F1
    regression      (n, K) numbers         as they are (n, K)              R2, RMSE
    per-position    (n, ...) integers      softmax (n, K, ...) over K      accuracy by position

This is the only file that says which metric a task has. The score grows with quality; it is what results, telemetry and
dashboards show.

>>> y = np.array([[1.0], [2.0], [3.0]])
>>> task("regression").score(np.array([[1.0], [2.0], [3.0]]), y)
1.0
>>> task("multi-label").scores(np.array([[0.9], [0.2]]), np.array([[1], [0]]))
{'average_precision': 1.0, 'micro_f1': 1.0}
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edge.errors import ConfigError

Array = npt.NDArray[Any]
SUPERVISION = "cross_entropy"
"""the term by which a protocol names learning from labels; a bundle has its task's own in its place"""
STRATA = 10
"""groups of equally many rows that the labels of a regression are put into, to divide or to weight rows by label"""
IGNORED = -1
"""a per-position label that is none, unless the bundle names another number: padding, or what nobody labelled"""


@dataclass(frozen=True)
class Metric:
    """How well outputs fit labels.

    Attributes:
        title: for people.
        measure: (outputs, labels, weights (n,) that sum to 1, or None for equal ones) -> the value.
    """

    title: str
    measure: Callable[[Array, Array, Array | None], float]


@dataclass(frozen=True)
class Task:
    """One of `TASKS`.

    Attributes:
        name: in manifests and settings.
        supervision: the term that learns from labels, unless somebody chose another.
        link: what turns logits into outputs: "softmax", "sigmoid" or "identity".
        bounded: whether an output lies in [0, 1].
        metrics: by key in rows of metrics; the first is the score.
    """

    name: str
    supervision: str
    link: str
    bounded: bool
    metrics: Mapping[str, Metric]

    @property
    def simplex(self) -> bool:
        """Whether a row of outputs is a distribution: what a sample's soft labels are if it has one class."""
        return self.link == "softmax" and not self.positions

    @property
    def positions(self) -> bool:
        """Whether there is a label for each position of a sample."""
        return self.name == "per-position"

    @property
    def classes(self) -> bool:
        """Whether labels are numbers of classes."""
        return self.link == "softmax"

    @property
    def key(self) -> str:
        """The score's key in rows of metrics."""
        return next(iter(self.metrics))

    @property
    def metric(self) -> str:
        """The score's name for people."""
        return self.metrics[self.key].title

    def scores(self, outputs: Array, y: Array, weights: Array | None = None) -> dict[str, float]:
        """Measure outputs by every metric.

        Args:
            outputs: (n, K) or (n, K, ...), as `Engine.predict` gives them.
            y: labels.
            weights: (n,) of the rows, summing to 1; equal if absent.

        Returns:
            Metrics by key.
        """
        return {key: metric.measure(outputs, y, weights) for key, metric in self.metrics.items()}

    def score(self, outputs: Array, y: Array, weights: Array | None = None) -> float:
        """Measure outputs by the score alone; see `scores`."""
        return self.metrics[self.key].measure(outputs, y, weights)

    def objective(self, terms: tuple[str, ...], supervision: str | None = None) -> tuple[str, ...]:
        """Put the term that learns from labels into a protocol's objective.

        Args:
            terms: of the protocol, which says SUPERVISION for it.
            supervision: the term; the task's own if absent.

        Returns:
            The terms that a bundle is exported with.
        """
        return tuple((supervision or self.supervision) if term == SUPERVISION else term for term in terms)

    def strata(self, y: Array, all_labels: Array) -> Array:
        """Group rows by their labels, to divide data among devices or to weight rows.

        Args:
            y: labels of n rows.
            all_labels: of the whole data set, from which the groups are made.

        Returns:
            (n,) int64. Classification: the class. Multi-label: the row's rarest label, K for a row without labels.
            Regression: which of STRATA quantiles the first output is in. Per-position: the most frequent class.
        """
        if self.name == "multi-label":
            rarity = np.argsort(np.argsort(all_labels.sum(axis=0), kind="stable"))
            order = np.where(y > 0, rarity, y.shape[1])
            rarest: Array = np.where((y > 0).any(axis=1), order.argmin(axis=1), y.shape[1]).astype(np.int64)
            return rarest
        if self.name == "regression":
            edges = np.quantile(all_labels[:, 0], np.linspace(0, 1, STRATA + 1)[1:-1])
            return np.searchsorted(edges, y[:, 0], side="right").astype(np.int64)
        if self.positions:
            flat = y.reshape(len(y), -1)
            counts = np.stack([(flat == k).sum(axis=1) for k in range(int(all_labels.max()) + 1)], axis=1)
            commonest: Array = counts.argmax(axis=1).astype(np.int64)
            return commonest
        return y

    def held(self, y: Array) -> tuple[int, ...]:
        """List the classes or labels that rows have; none for numbers."""
        if self.name == "regression":
            return ()
        if self.name == "multi-label":
            return tuple(np.flatnonzero((y > 0).any(axis=0)).tolist())
        values = np.unique(y)
        return tuple(values[values >= 0].tolist())


def accuracy(outputs: Array, y: Array, weights: Array | None) -> float:
    """Fraction of the rows whose largest output is the label's."""
    return float(_mean(outputs.argmax(axis=1) == y, weights))


def position_accuracy(outputs: Array, y: Array, weights: Array | None) -> float:
    """Fraction of the positions that have a label whose largest output is the label's."""
    labelled = ((y >= 0) & (y < outputs.shape[1])).reshape(len(y), -1)
    hits = (outputs.argmax(axis=1) == y).reshape(len(y), -1) & labelled
    total = float(_mean(labelled.sum(axis=1), weights))
    return float(_mean(hits.sum(axis=1), weights)) / total if total else 0.0


def average_precision(outputs: Array, y: Array, weights: Array | None) -> float:
    """Mean over the labels that a row has of the area under their curve of precision over recall."""
    shares = np.full(len(y), 1 / max(1, len(y))) if weights is None else weights
    areas = []
    for scores, positive in zip(outputs.T, y.T > 0, strict=True):
        if not shares[positive].sum():
            continue
        order = np.argsort(-scores, kind="stable")
        mass, hits = shares[order], shares[order] * positive[order]
        last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # rows of one score have one threshold
        above, right = mass.cumsum()[last], hits.cumsum()[last]
        precision = np.divide(right, above, out=np.zeros_like(right), where=above > 0)
        areas.append(float((np.diff(right, prepend=0.0) * precision).sum() / right[-1]))
    return float(np.mean(areas)) if areas else 0.0


def micro_f1(outputs: Array, y: Array, weights: Array | None) -> float:
    """2 TP / (2 TP + FP + FN) over all labels, an output of more than a half being a yes."""
    yes, positive = outputs > 0.5, y > 0
    right = float(_mean((yes & positive).sum(axis=1), weights))
    wrong = float(_mean((yes ^ positive).sum(axis=1), weights))
    return 2 * right / (2 * right + wrong) if right or wrong else 1.0


def r2(outputs: Array, y: Array, weights: Array | None) -> float:
    """1 - squared error / variance, averaged over the outputs whose labels vary: 0 for who always says the mean."""
    exact = y.astype(np.float64)
    error = _mean((outputs - exact) ** 2, weights)
    variance = _mean((exact - _mean(exact, weights)) ** 2, weights)
    varying = variance > 0
    return float(np.mean(1 - error[varying] / variance[varying])) if varying.any() else 0.0


def rmse(outputs: Array, y: Array, weights: Array | None) -> float:
    """Root of the mean squared error over rows and outputs, in the units that the model is trained in."""
    return float(np.sqrt(_mean((outputs - y.astype(np.float64)) ** 2, weights).mean()))


def _mean(values: Array, weights: Array | None) -> Any:
    """The mean over rows."""
    return values.mean(axis=0) if weights is None else weights @ values


ACCURACY = {"accuracy": Metric("accuracy", accuracy)}
LABELS = {
    "average_precision": Metric("mean average precision", average_precision),
    "micro_f1": Metric("micro-F1", micro_f1),
}
NUMBERS = {"r2": Metric("R2", r2), "rmse": Metric("RMSE", rmse)}
POSITIONS = {"position_accuracy": Metric("accuracy by position", position_accuracy)}

CLASSIFICATION = Task("classification", "cross_entropy", "softmax", True, ACCURACY)
MULTI_LABEL = Task("multi-label", "binary_cross_entropy", "sigmoid", True, LABELS)
REGRESSION = Task("regression", "mean_squared_error", "identity", False, NUMBERS)
PER_POSITION = Task("per-position", "position_cross_entropy", "softmax", True, POSITIONS)
TASKS = {t.name: t for t in (CLASSIFICATION, MULTI_LABEL, REGRESSION, PER_POSITION)}
METRICS = {key: metric for t in TASKS.values() for key, metric in t.metrics.items()}
SCORES = tuple(t.key for t in TASKS.values())
"""keys of the scores of all tasks"""
ON_TEST = {f"{t.key}_all": t.metric for t in TASKS.values()}
"""key of a task's score on the test samples in a device's rows -> its name for people"""


def score(row: Mapping[str, Any]) -> tuple[str, float] | None:
    """Read the score from a device's row, whatever its task is.

    Args:
        row: of metrics, telemetry or a report.

    Returns:
        Its name for people and its value; None if nothing was tested.

    Examples:
        >>> score({"round": 3.0, "r2_all": 0.25, "rmse_all": 0.5})
        ('R2', 0.25)
    """
    return next(((title, float(row[key])) for key, title in ON_TEST.items() if row.get(key) is not None), None)


def task(name: str) -> Task:
    """Look a task up. Raises ConfigError: there is none of that name."""
    if name not in TASKS:
        raise ConfigError(f"unknown task '{name}'; there are: {', '.join(TASKS)}")
    return TASKS[name]
