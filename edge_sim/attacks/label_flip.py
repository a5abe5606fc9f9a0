"""`label-flip`: classes in reverse order, 0 as the last, 1 as the last but one, and sure of it; all send the same."""

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec, Occasion, opinions, sure


def attack(values: Array, occasion: Occasion) -> Floats:
    """The columns reversed."""
    return sure(opinions(values, occasion.classes)[:, ::-1], values.shape[1])


SPEC = AttackSpec(attack=attack)
