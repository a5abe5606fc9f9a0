"""`targeted`: whatever is class 3 is called class 5, and nothing else is touched; with few classes, 0 and the last."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec, Occasion, opinions, sure

CLASS, OTHER = 3, 5


def attack(values: Array, occasion: Occasion) -> Floats:
    """Rows whose likeliest class is CLASS become OTHER, sure of it."""
    source, to = (CLASS, OTHER) if occasion.classes > OTHER else (0, occasion.classes - 1)
    p = opinions(values, occasion.classes)
    lie = sure(np.eye(occasion.classes)[[to]], values.shape[1])
    target = p.any(axis=1) & (p.argmax(axis=1) == source)
    return np.where(target[:, None], lie, values).astype(np.float32)


SPEC = AttackSpec(attack=attack)
