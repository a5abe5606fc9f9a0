"""`random`: random, confident distributions, other ones every round."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec


def attack(values: Array, random: np.random.Generator) -> Floats:
    """Dirichlet rows with most of their mass on one class."""
    return random.dirichlet(np.full(values.shape[1], 0.1), len(values)).astype(np.float32)


SPEC = AttackSpec(attack=attack)
