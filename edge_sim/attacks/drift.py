"""`drift`: honest at first, and a little more of `label-flip` every round, all of it after ROUNDS."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec, Occasion
from edge_sim.attacks.label_flip import attack as flipped

ROUNDS = 20


def attack(values: Array, occasion: Occasion) -> Floats:
    """A mixture of the truth and of its reverse."""
    share = np.float32(min(1.0, occasion.number / ROUNDS))
    return ((1 - share) * values + share * flipped(values, occasion)).astype(np.float32)


SPEC = AttackSpec(attack=attack)
