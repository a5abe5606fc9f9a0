"""Classes in reverse order: 0 is called the last, 1 the last but one. The same lie from all who tell it."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.lies import AttackSpec


def attack(values: Array, _random: np.random.Generator) -> Floats:
    """The columns reversed."""
    return np.ascontiguousarray(values[:, ::-1])


SPEC = AttackSpec(attack=attack)
