"""`label-flip`: classes in reverse order, 0 as the last, 1 as the last but one; all attackers send the same."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec


def attack(values: Array, _random: np.random.Generator) -> Floats:
    """The columns reversed."""
    return np.ascontiguousarray(values[:, ::-1])


SPEC = AttackSpec(attack=attack)
