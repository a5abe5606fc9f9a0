"""The update of the parameters by their gradients."""

import os

import numpy as np

from edge.interfaces import Array
from edge.ort_training.module import Module
from edge.ort_training.names import GRADIENTS, LEARNING_RATE, MOMENTS, PARAMS, STEP, UPDATED
from edge.ort_training.sessions import opened


class Optimizer:
    """The update of a module's parameters, over the optimizer model that `generate_artifacts` wrote.

    The learning rate is 0.001 at first, and again after a checkpoint was loaded; moments and step go on where a
    checkpoint has them.

    Args:
        optimizer_uri: the optimizer model.
        module: whose parameters are updated.

    Attributes:
        state: what the optimizer shares with the module.

    Raises:
        RuntimeError: the file cannot be loaded.
    """

    def __init__(self, optimizer_uri: str | os.PathLike[str], module: Module) -> None:
        self.state = module.state
        self._graph = opened(optimizer_uri, module.session_options)
        self._kinds = [kind for kind in MOMENTS if kind in self._graph.inputs]
        for kind in self._kinds:
            self.state.moments.setdefault(kind, np.zeros_like(self.state.trained.buffer))
        # An update is written beside what it reads, and takes its place.
        self._spare = {kind: np.empty_like(self.state.trained.buffer) for kind in (PARAMS, *self._kinds)}
        self.set_learning_rate(0.001)

    def step(self) -> None:
        """Update the parameters by their gradients, which stay as they are.

        Raises:
            RuntimeError: a nominal state.
        """
        state = self.state
        state.demand()
        assert state.gradients is not None
        feeds: dict[str, Array] = {
            LEARNING_RATE: self._rate,
            PARAMS: state.trained.buffer,
            GRADIENTS: state.gradients.buffer,
            STEP: np.array([state.step + 1], np.int64),
            **{kind: state.moments[kind] for kind in self._kinds},
        }
        feeds = {name: value for name, value in feeds.items() if name in self._graph.inputs}
        self._graph.run(feeds, {UPDATED + kind: value for kind, value in self._spare.items()})
        state.trained.buffer[...] = self._spare[PARAMS]
        for kind in self._kinds:
            state.moments[kind], self._spare[kind] = self._spare[kind], state.moments[kind]
        state.step += 1

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        self._rate = np.array([learning_rate], np.float32)

    def get_learning_rate(self) -> float:
        """Return the learning rate, a number of single precision."""
        return float(self._rate[0])
