"""Rules of export/gradients/trigonometric.py."""

import numpy as np
import pytest

from tests.export.directional import check

RANGES = {
    "Sin": (-3, 3),
    "Cos": (-3, 3),
    "Tan": (-1.3, 1.3),
    "Sinh": (-2, 2),
    "Cosh": (-2, 2),
    "Asin": (-0.9, 0.9),
    "Acos": (-0.9, 0.9),
    "Atan": (-3, 3),
    "Asinh": (-3, 3),
    "Acosh": (1.2, 4),
    "Atanh": (-0.9, 0.9),
}


@pytest.mark.parametrize("kind", RANGES)
def test_rule(kind: str) -> None:
    check(kind, np.random.default_rng(0).uniform(*RANGES[kind], (3, 4)))
