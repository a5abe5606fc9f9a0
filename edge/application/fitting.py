"""Passes over samples: batches, early stopping, the best epoch, and checkpoints to go on from.

A checkpoint has "trainer/NAME" (the state of `Trainer`), "best/NAME" (parameters of the best epoch) and "fit/progress",
the rows so far and what the fit was asked for, as JSON in bytes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np

from edge.application.samples import LABELS
from edge.bundle import CORRECT, SKIPPED, Bundle
from edge.errors import ConfigError
from edge.interfaces import Array, Metrics
from edge.storage import checkpoint_files

STEPS = "steps"
TRAINER, BEST, PROGRESS = "trainer/", "best/", "fit/progress"
Pair = tuple[Array, Array]


class Learner(Interface):
    """What is trained: a `Trainer`."""

    bundle: Bundle

    def step(self, batch: Mapping[str, Array]) -> Metrics:
        """Take a step."""

    def evaluate(self, x: Any, y: Any) -> Metrics:
        """Judge."""

    def parameters(self) -> dict[str, Array]:
        """Copy the parameters."""

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """Put parameters back."""

    def state(self) -> dict[str, Array]:
        """Copy all that the next step depends on."""

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put it back."""


@dataclass(frozen=True)
class Plan:
    """What a fit was asked for.

    Attributes:
        epochs: passes.
        batch_size: rows of a step.
        whole_batches: whether a smaller last batch is left out.
        patience: epochs without a lower validation loss after which it ends; None for never.
        seed: of the order of samples.
        settings: of the trainer, as a text.
    """

    epochs: int
    batch_size: int
    whole_batches: bool
    patience: int | None
    seed: int
    settings: str

    def check(self, rows: int, judged: bool) -> None:
        """Refuse what cannot be. Raises ConfigError."""
        if self.epochs < 1 or self.batch_size < 1:
            raise ConfigError(f"epochs {self.epochs}, batch_size {self.batch_size}: expected 1 or more of both")
        if rows < (self.batch_size if self.whole_batches else 1):
            raise ConfigError(f"{rows} samples to train with; expected {self.batch_size} or more, one batch")
        if self.patience is not None and (self.patience < 1 or not judged):
            raise ConfigError("patience: expected 1 or more, and validation, by which epochs are judged")

    def batches(self, rows: int, epoch: int) -> Iterator[Array]:
        """Yield the row numbers of the batches of an epoch, which depend on nothing but seed and epoch."""
        order = np.random.default_rng([self.seed, epoch]).permutation(rows)
        end = rows - rows % self.batch_size if self.whole_batches else rows
        for start in range(0, end, self.batch_size):
            yield order[start : start + self.batch_size]


def divide(x: Array, y: Array, fraction: float, seed: int) -> tuple[Pair, Pair]:
    """Hold out a fraction of the samples, drawn at random. Raises ConfigError: nothing would be left in one part."""
    count = round(len(x) * fraction)
    if not 0 < count < len(x):
        raise ConfigError(f"validation {fraction}: of {len(x)} samples that leaves {count} to judge by; 0.2 is usual")
    order = np.random.default_rng([seed, len(x)]).permutation(len(x))
    judged, trained = np.sort(order[:count]), np.sort(order[count:])
    return (x[trained], y[trained]), (x[judged], y[judged])


def fit(
    trainer: Learner,
    plan: Plan,
    data: Pair,
    held_out: Pair | None,
    folder: Path | None,
    on_epoch: Callable[[Metrics], object],
) -> list[Metrics]:
    """See `Trainer.fit`."""
    plan.check(len(data[0]), held_out is not None)
    rows, best = _resume(folder, trainer, plan, len(data[0])) if folder else ([], {})
    while len(rows) < plan.epochs and not _stalled(rows, plan.patience):
        row = _epoch(trainer, plan, data, len(rows) + 1)
        if held_out is not None:
            row |= {f"validation_{key}": value for key, value in trainer.evaluate(*held_out).items()}
        rows.append(row)
        if held_out is not None and _best(rows) == len(rows) - 1:
            best = trainer.parameters()
        if folder:
            _keep(folder, trainer, plan, len(data[0]), rows, best)
        on_epoch(row)
    if best:
        trainer.load_parameters(best)
    return rows


def _epoch(trainer: Learner, plan: Plan, data: Pair, epoch: int) -> Metrics:
    """One pass: means over its rows, each judged before the step that learns from it."""
    x, y = data
    sums: Metrics = {}
    rows = skipped = 0
    for at in plan.batches(len(x), epoch):
        metrics = trainer.step({"x": x[at], LABELS: y[at]})
        if SKIPPED in metrics:  # its loss may be no number
            skipped += 1
            continue
        rows += len(at)
        for key, value in metrics.items():
            sums[key] = sums.get(key, 0.0) + value * (1 if key == CORRECT else len(at))
    means = {("accuracy" if key == CORRECT else key): value / rows for key, value in sums.items()}
    return {"epoch": float(epoch), **means} | ({SKIPPED: float(skipped)} if skipped else {})


def loss(bundle: Bundle, outputs: Array, labels: Array) -> float:
    """Return the mean loss of predictions, in float64.

    Args:
        bundle: says what they are.
        outputs: (n, K, ...) probabilities, or numbers in a regression.
        labels: as a step takes them.

    Returns:
        Cross-entropy in nats, or the mean squared error of a regression.
    """
    task = bundle.manifest.job
    if not task.bounded:
        return float(((outputs - labels) ** 2).mean())
    if task.classes:
        likelihoods = np.take_along_axis(outputs, labels.clip(0, outputs.shape[1] - 1)[:, None], axis=1)[:, 0]
    else:
        likelihoods = np.where(labels > 0, outputs, 1 - outputs)
    if task.positions:
        likelihoods = likelihoods[labels != bundle.manifest.ignored]
    return float(-np.log(np.maximum(likelihoods, np.finfo(np.float32).tiny)).mean())


def _best(rows: list[Metrics]) -> int:
    return int(np.argmin([row["validation_loss"] for row in rows]))


def _stalled(rows: list[Metrics], patience: int | None) -> bool:
    return bool(rows) and patience is not None and len(rows) - 1 - _best(rows) >= patience


def _asked(trainer: Learner, plan: Plan, rows: int) -> dict[str, Any]:
    """What a checkpoint must have been written for; more epochs or another patience only go on longer."""
    wanted = {key: value for key, value in asdict(plan).items() if key not in ("epochs", "patience")}
    return {"model": trainer.bundle.manifest.model_digest.hex(), "samples": rows, **wanted}


def _keep(
    folder: Path, trainer: Learner, plan: Plan, count: int, rows: list[Metrics], best: Mapping[str, Array]
) -> None:
    progress = json.dumps({"rows": rows, "asked": _asked(trainer, plan, count)})
    values = {PROGRESS: np.frombuffer(progress.encode(), np.uint8)}
    values |= {TRAINER + name: value for name, value in trainer.state().items()}
    values |= {BEST + name: value for name, value in best.items()}
    checkpoint_files.write(folder, len(rows), values)


def _resume(folder: Path, trainer: Learner, plan: Plan, count: int) -> tuple[list[Metrics], dict[str, Array]]:
    """The rows so far and the best parameters; the trainer is as the last epoch left it. Raises ConfigError."""
    newest = checkpoint_files.read(folder)
    if newest is None:
        return [], {}
    _, values = newest
    if PROGRESS not in values:
        raise ConfigError(f"the checkpoint in {folder} is not of a Trainer; remove it or name another folder")
    progress = json.loads(values[PROGRESS].tobytes())
    asked = _asked(trainer, plan, count)
    if different := [
        f"{k} {progress['asked'].get(k)}, now {v}" for k, v in asked.items() if progress["asked"].get(k) != v
    ]:
        raise ConfigError(
            f"the checkpoint in {folder} is of another fit ({'; '.join(different)}); remove it or name another folder"
        )
    trainer.load_state(_of(values, TRAINER))
    rows: list[Metrics] = progress["rows"]
    return rows, _of(values, BEST)


def _of(values: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {key.removeprefix(prefix): value for key, value in values.items() if key.startswith(prefix)}
