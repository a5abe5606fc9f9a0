"""`extreme`: the least likely class as the only one, as far out as a coding and a receiver's checks let it."""

import numpy as np

from edge.interfaces import Array, Floats
from edge_sim.attacks import AttackSpec, Occasion, opinions, sure

HIGH, LOW = 3.0, -2.0
"""what D-Distillation takes for an estimate at most, and at least; codings of distributions carry 1 and 0 instead"""


def attack(values: Array, occasion: Occasion) -> Floats:
    """HIGH for the least likely class, LOW for the likeliest; rows that still sum to 1."""
    p = opinions(values, occasion.classes)
    lies = np.zeros_like(p)
    np.put_along_axis(lies, p.argmax(axis=1)[:, None], LOW, axis=1)
    np.put_along_axis(lies, p.argmin(axis=1)[:, None], HIGH, axis=1)
    return sure(np.where(p.any(axis=1, keepdims=True), lies, 0), values.shape[1])


SPEC = AttackSpec(attack=attack)
