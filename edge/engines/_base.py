"""What engines have in common: their masks' place in a run, the count of their work, and what follows from the rest."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping

import numpy as np

import edge.bundle as names
from edge.bundle import Bundle
from edge.engines import _checks as check
from edge.interfaces import Array, Floats

NOISE_STEP = "noise/step"
"""part of an engine's state: how many steps have drawn noise. With the seed, all that the next masks depend on"""


class Base(ABC):
    """The part of `edge.interfaces.Engine` that does not depend on the runtime."""

    def __init__(self, bundle: Bundle, seed: int) -> None:
        self.bundle = bundle
        self.work: Counter[tuple[str, int, int]] = Counter()
        self._manifest = bundle.manifest
        self._seed, self._noise_step = seed, 0

    @abstractmethod
    def outputs(self, x: Array, *wanted: str) -> list[Floats]:
        """The runtime's."""

    @abstractmethod
    def load_state(self, values: Mapping[str, Array]) -> None:
        """The runtime's."""

    def predict(self, x: Array) -> Floats:
        """See `Engine.predict`."""
        return self.outputs(x, names.PROBABILITIES)[0]

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

    def _noise_state(self) -> dict[str, Array]:
        """The part of `state` about the masks; nothing if there are none."""
        return {NOISE_STEP: np.array(self._noise_step, np.int64)} if self._manifest.noise else {}

    def _without_noise(self, values: Mapping[str, Array]) -> tuple[dict[str, Array], int]:
        """(a state's tensors, how many steps it has drawn noise for), of values to be loaded."""
        tensors = {k: v for k, v in values.items() if k != NOISE_STEP or not self._manifest.noise}
        return tensors, int(values[NOISE_STEP]) if len(tensors) < len(values) else self._noise_step
