"""What engines have in common: their masks' place in a run, the count of their work, and what follows from the rest."""

import logging
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping
from math import isfinite
from typing import ClassVar

import numpy as np

import edge.bundle as names
from edge.bundle import Bundle
from edge.engines import _checks as check
from edge.errors import EngineError
from edge.interfaces import Array, Floats, Metrics

NOISE_STEP = "noise/step"
"""part of an engine's state: how many steps have drawn noise. With the seed, all that the next masks depend on"""


HUGE = 1e18
"""A weight above this: products of two such do not fit into float32, so no later step can succeed."""
MOST_SKIPPED = 20
"""Steps skipped one after the other, after which training is given up."""

_log = logging.getLogger(__name__)


class Base(ABC):
    """The part of `edge.interfaces.Engine` that does not depend on the runtime."""

    noticed: ClassVar[bool] = False
    """whether a skipped step was mentioned: once a process, not for every step and device"""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        self.bundle = bundle
        self.work: Counter[tuple[str, int, int]] = Counter()
        self._manifest = bundle.manifest
        self._seed, self._noise_step = seed, 0
        self._skipped = 0

    @abstractmethod
    def outputs(self, x: Array, *wanted: str) -> list[Floats]:
        """The runtime's."""

    @abstractmethod
    def parameters(self) -> dict[str, Array]:
        """The runtime's."""

    @abstractmethod
    def load_state(self, values: Mapping[str, Array]) -> None:
        """The runtime's."""

    def predict(self, x: Array) -> Floats:
        """See `Engine.predict`."""
        outputs = self.outputs(x, self._manifest.prediction)[0]
        if not (self._manifest.job.bounded or np.isfinite(outputs).all()):
            raise EngineError(
                "the model's outputs are beyond all numbers: it has diverged. Lower learning_rate, or "
                "distillation_weight where there is one"
            )
        return outputs

    def load_parameters(self, values: Mapping[str, Array]) -> None:
        """See `Engine.load_parameters`."""
        self.load_state({names.PARAMETER + k: v for k, v in values.items()})

    def _masks(self, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Of the next step."""
        return check.masks(self._manifest, batch, self._seed, self._noise_step)

    def _stepped(self, rows: tuple[int, int]) -> None:
        """Note that a step was taken, on so many private and reference rows."""
        self._noise_step += 1
        self.work["train", *rows] += 1

    def _sound(self, metrics: Metrics, *, finite: bool, rate: float | None) -> bool:
        """Whether a step is to be kept: its loss and its update are finite.

        One that is not is counted in the metrics and skipped: it may be the fault of one batch. Raises EngineError
        where the next step would fail, too.
        """
        loss = metrics[names.TOTAL]
        if finite and isfinite(loss):
            self._skipped = 0
            return True
        self._skipped += 1
        what = f"the loss became {loss}" if not np.isfinite(loss) else "the update was not finite"
        largest = max(float(np.abs(v).max(initial=0)) for v in self.parameters().values())
        if largest > HUGE or self._skipped >= MOST_SKIPPED:
            why = f"weights as large as {largest:.2g}" if largest > HUGE else f"{self._skipped} times in a row"
            raise EngineError(
                f"{what} ({why}) and the step was undone; look for NaN or huge values in the data, or lower the "
                f"learning rate ({rate})"
            )
        metrics[names.SKIPPED] = 1.0
        if not Base.noticed:
            Base.noticed = True
            _log.warning(
                "%s, so this step was skipped and the parameters stay; look for huge values in the data, or lower the "
                "learning rate (%s). Further ones are counted as %s.",
                *(what, rate, names.SKIPPED),
            )
        return False

    def _noise_state(self) -> dict[str, Array]:
        """The part of `state` about the masks; nothing if there are none."""
        return {NOISE_STEP: np.array(self._noise_step, np.int64)} if self._manifest.noise else {}

    def _without_noise(self, values: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
        """(a state's tensors, how many steps it has drawn noise for), of values to be loaded."""
        tensors = {k: v for k, v in values.items() if k != NOISE_STEP or not self._manifest.noise}
        return tensors, int(values[NOISE_STEP]) if len(tensors) < len(values) else self._noise_step
