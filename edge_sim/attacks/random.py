"""`random`: random, confident distributions, other ones every round."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec, Occasion, sure


def attack(values: Array, occasion: Occasion) -> Floats:
    """Dirichlet rows with most of their mass on one class."""
    return sure(occasion.random.dirichlet(np.full(occasion.classes, 0.1), len(values)), values.shape[1])


SPEC = AttackSpec(attack=attack)
