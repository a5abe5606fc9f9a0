"""States of CartPole, labelled with the action of a good controller.

The agents of federated reinforcement distillation do not learn from these labels. The states give the model its
shape and the discretisation its ranges; the labels measure how often an agent agrees with the controller.
"""

import numpy as np

from edge.data import Dataset
from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import DataSpec

ROWS, TEST = 4_000, 1_000
SPREAD = np.array([0.8, 0.8, 0.08, 0.8])
"""Standard deviations of position, velocity, angle and angular velocity."""


def load(argument: str, seed: int) -> Dataset:
    """Draw states. No argument; x is (n, 4): position, velocity, angle, angular velocity."""
    if argument:
        raise ConfigError(f"data 'cartpole:{argument}': cartpole takes no argument")
    x = (np.random.default_rng(seed).standard_normal((ROWS + TEST, 4)) * SPREAD).astype(np.float32)
    y = controller(x)
    return Dataset(x[:ROWS], y[:ROWS], x[ROWS:], y[ROWS:], ("left", "right"))


def controller(states: Array) -> Array:
    """Choose the actions (n,) of a linear controller that pushes towards the falling pole; it balances 500 steps."""
    pushes: Array = (states @ np.array([0.1, 0.3, 3.0, 1.0]) > 0).astype(np.int64)
    return pushes


SPEC = DataSpec(load=load)
