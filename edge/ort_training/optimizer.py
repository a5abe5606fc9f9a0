"""The update of the parameters by their gradients."""

import os

import numpy as np
import onnxruntime as ort

from edge.ort_training.module import Module
from edge.ort_training.names import GRADIENTS, LEARNING_RATE, MOMENTS, PARAMS, STEP, UPDATED
from edge.ort_training.sessions import opened

BLOCK = 1 << 16
"""Numbers that are updated at once: an operator reads from the cache what the one before it wrote. AdamW on 400,000
parameters: 2.9 ms a step instead of 4.0 with all at once, and 4.6 with 4,096."""


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
        self._rate, self._step = np.zeros(1, np.float32), np.zeros(1, np.int64)
        self._blocks = self._bound()
        self.set_learning_rate(0.001)

    def step(self) -> None:
        """Update the parameters by their gradients, which stay as they are.

        Raises:
            RuntimeError: a nominal state.
        """
        self.state.demand()
        self._step[0] = self.state.step + 1
        for block in self._blocks:
            self._graph.execute(block)
        self.state.step += 1

    def set_learning_rate(self, learning_rate: float) -> None:
        """Set the learning rate of the next steps."""
        self._rate[0] = learning_rate

    def get_learning_rate(self) -> float:
        """Return the learning rate, a number of single precision."""
        return float(self._rate[0])

    def _bound(self) -> list[ort.IOBinding]:
        """The blocks of the parameters, bound once: all vectors stay where they are.

        Each vector's next value is written over it. No other operator reads it after the one that writes does, and the
        runtime's element-wise kernels work in place of their own accord where memory can be saved.
        """
        assert self.state.gradients is not None
        vectors = {PARAMS: self.state.trained.buffer}
        for kind in MOMENTS:
            if kind in self._graph.inputs:
                vectors[kind] = self.state.moments.setdefault(kind, np.zeros_like(self.state.trained.buffer))
        bindings = []
        for start in range(0, self.state.trained.buffer.size, BLOCK):
            now = {kind: vector[start : start + BLOCK] for kind, vector in vectors.items()}
            gradients = self.state.gradients.buffer[start : start + BLOCK]
            feeds = {LEARNING_RATE: self._rate, STEP: self._step, GRADIENTS: gradients, **now}
            feeds = {name: value for name, value in feeds.items() if name in self._graph.inputs}
            bindings.append(self._graph.bound(feeds, {UPDATED + kind: value for kind, value in now.items()}))
        return bindings
