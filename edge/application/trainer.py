"""The training step alone, without a fleet: the shortest way to train an ONNX model where stock ONNX Runtime runs."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edge import bundle as bundles
from edge import schedules
from edge.application import fitting, samples, saved_model
from edge.application.fitting import Plan
from edge.application.shared_engine import SharedEngine
from edge.bundle import Bundle
from edge.engines import ENGINES
from edge.errors import ConfigError, DataError
from edge.interfaces import Array, Floats, Metrics

RATE = "learning_rate"
Row = Metrics


class Trainer:
    """Train a bundle's model on arrays.

    Calls may come from several threads: a prediction waits for the step under way, and sees whole parameters.

    Args:
        bundle: a folder that `edge-export` wrote, or such a bundle opened.
        learning_rate: the bundle's own if absent.
        schedule: by which factor the rate is multiplied as steps go by, e.g. "warm-up:100+cosine:2000"
            (`edge.schedules`).
        engine: what runs the step (docs/engines.md).
        threads: of the engine; 1 if absent.
        seed: of the order of samples and of Dropout.

    Raises:
        BundleError: the bundle cannot be read.
        ConfigError: no such engine or schedule.
    """

    def __init__(
        self,
        bundle: Bundle | Path | str,
        *,
        learning_rate: float | None = None,
        schedule: str = "constant",
        engine: str = "onnx-runtime",
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self.bundle = bundle if isinstance(bundle, Bundle) else bundles.read(Path(bundle))
        """what is trained"""
        self.steps = 0
        """how many steps have been taken"""
        spec = ENGINES.load(engine)
        self._engine = SharedEngine(spec.create(self.bundle, threads=threads, seed=seed, home=None))
        self._fixed, self._seed = spec.fixed_batch, seed
        self._rate = self.bundle.manifest.hyper[RATE] if learning_rate is None else learning_rate
        self._schedule_text = schedule
        if not self._rate > 0:
            raise ConfigError(f"learning_rate {self._rate}: expected a positive number")
        try:
            self._schedule = schedules.parse(schedule)
        except ValueError as reason:
            raise ConfigError(str(reason)) from None

    @property
    def learning_rate(self) -> float:
        """The rate of the next step."""
        return self._rate * self._schedule(self.steps)

    def step(self, batch: Mapping[str, Array] | tuple[Any, Any], **hyper: float) -> Metrics:
        """Take one training step.

        Args:
            batch: samples and labels (x, y); or all arrays that the bundle's step takes, by name.
            **hyper: scalars by name, beside or instead of the scheduled learning rate.

        Returns:
            "loss", "loss/TERM" of every term, and "correct", rows that were right before the step.

        Raises:
            DataError, EngineError: what does not fit. The parameters are as they were.
        """
        metrics = self._engine.step(self._arrays(batch), **{RATE: self.learning_rate, **hyper})
        self.steps += 1
        return metrics

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        validation: tuple[Any, Any] | float | None = None,
        patience: int | None = None,
        checkpoint: Path | str | None = None,
        on_epoch: Callable[[Row], object] = lambda _: None,
    ) -> list[Row]:
        """Train in passes over samples, each in an order of its own.

        With `validation` the parameters of the best epoch are put back at the end.

        Args:
            x: (n, ...) samples.
            y: (n,) class numbers or names; or what else the objective takes.
            epochs: passes.
            batch_size: rows of a step; the last batch of a pass may be smaller, unless the engine's size is fixed.
            validation: samples and labels that are only judged, or the fraction of the samples that is held out for
                that.
            patience: stop after so many epochs without a lower validation loss.
            checkpoint: a folder; an interrupted fit of the same arguments goes on from the last whole epoch in it.
            on_epoch: called with the row of every epoch.

        Returns:
            A row an epoch, those before an interruption included: "epoch", "loss", "accuracy" over the pass, and
            "validation_loss", "validation_accuracy".

        Raises:
            DataError: samples or labels that do not fit.
            ConfigError: settings that cannot be, or a checkpoint of another fit.
        """
        samples.require_plain(self.bundle)
        inputs = samples.samples(self.bundle, x)
        outputs = samples.targets(self.bundle, y, len(inputs))
        held_out: tuple[Array, Array] | None = None
        if isinstance(validation, float):
            (inputs, outputs), held_out = fitting.divide(inputs, outputs, validation, self._seed)
        elif validation is not None:
            judged = samples.samples(self.bundle, validation[0])
            held_out = judged, samples.targets(self.bundle, validation[1], len(judged))
        plan = Plan(
            epochs=epochs,
            batch_size=batch_size,
            whole_batches=self._fixed,
            patience=patience,
            seed=self._seed,
            settings=f"learning rate {self._rate:g}, schedule {self._schedule_text}",
        )
        return fitting.fit(self, plan, (inputs, outputs), held_out, Path(checkpoint) if checkpoint else None, on_epoch)

    def predict(self, x: Any) -> Floats:
        """Predict.

        Args:
            x: (n, ...) samples, or one.

        Returns:
            (n, K) probabilities of the classes, or what else the task gives, float32; n is 1 for one sample.

        Raises:
            DataError: samples that do not fit.
        """
        return self._engine.predict(samples.samples(self.bundle, x))

    def evaluate(self, x: Any, y: Any) -> Metrics:
        """Judge the model, without training.

        Args:
            x: (n, ...) samples.
            y: (n,) class numbers or names; or what else the task takes.

        Returns:
            The metrics of the task (`edge.task`), e.g. "accuracy"; and "loss": the mean cross-entropy in nats or, in a
            regression, the mean squared error.

        Raises:
            DataError: samples or labels that do not fit.
        """
        inputs = samples.samples(self.bundle, x)
        labels = samples.targets(self.bundle, y, len(inputs))
        if not len(labels):
            raise DataError("there are no samples to judge by; expected one at least")
        outputs = self._engine.predict(inputs).astype(np.float64)
        return {"loss": fitting.loss(self.bundle, outputs, labels), **self.bundle.manifest.job.scores(outputs, labels)}

    def parameters(self) -> dict[str, Array]:
        """Copy the parameters: by name, in the order of the bundle's table."""
        return self._engine.parameters()

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """Replace parameters by name; those not named stay. Raises EngineError, changing nothing."""
        self._engine.load_parameters(values)

    def state(self) -> dict[str, Array]:
        """Return all that the next step depends on, as arrays by name."""
        return {**self._engine.state(), fitting.STEPS: np.array(self.steps, np.int64)}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put back what `state` gave. Raises EngineError, KeyError: it is of another model."""
        steps = int(values[fitting.STEPS])
        self._engine.load_state({key: value for key, value in values.items() if key != fitting.STEPS})
        self.steps = steps

    def save(self, path: Path | str) -> None:
        """Write the trained model as one ONNX file with plain inputs and outputs, whole or not at all.

        Args:
            path: of the file, which ends in .onnx.

        Raises:
            ConfigError: another ending, or it cannot be written.
        """
        saved_model.save(self.bundle, self.parameters(), Path(path))

    def _arrays(self, batch: Mapping[str, Array] | tuple[Any, Any]) -> Mapping[str, Array]:
        if isinstance(batch, Mapping):
            return batch
        if samples.ready(*batch):  # the engine checks the rest
            return {"x": batch[0], samples.LABELS: batch[1]}
        x = samples.samples(self.bundle, batch[0])
        return {"x": x, samples.LABELS: samples.targets(self.bundle, batch[1], len(x))}
