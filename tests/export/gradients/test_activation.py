"""Rules of export/gradients/activation.py, away from the kinks."""

from typing import Any

import numpy as np
import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random


def away(*kinks: float, shape: tuple[int, ...] = (4, 9), scale: float = 3.0) -> np.ndarray:
    """Random values at least 0.05 from every kink."""
    x = scale * random(*shape)
    for kink in kinks:
        x = np.where(np.abs(x - kink) < 0.05, kink + 0.2, x)
    return x


CASES: list[tuple[str, tuple[float, ...], dict[str, Any]]] = [
    ("Relu", (0,), {}),
    ("LeakyRelu", (0,), {}),
    ("LeakyRelu", (0,), {"alpha": 0.3}),
    ("Elu", (0,), {}),
    ("Elu", (0,), {"alpha": 0.5}),
    ("Selu", (0,), {}),
    ("Selu", (0,), {"alpha": 1.2, "gamma": 0.7}),
    ("Softplus", (), {}),
    ("Softsign", (), {}),
    ("Mish", (), {}),
    ("HardSigmoid", (-2.5, 2.5), {}),
    ("HardSigmoid", (-1, 1.5), {"alpha": 0.4, "beta": 0.4}),
    ("HardSwish", (-3, 3), {}),
    ("Gelu", (), {}),
    ("Gelu", (), {"approximate": "tanh"}),
]


@pytest.mark.parametrize(("op_type", "kinks", "attributes"), CASES)
def test_activation(op_type: str, kinks: tuple[float, ...], attributes: dict[str, Any]) -> None:
    check(op_type, away(*kinks), **attributes)


@pytest.mark.parametrize("slope", [(9,), (1,), (4, 9)])
def test_prelu(slope: tuple[int, ...]) -> None:
    check("PRelu", away(0), random(*slope, seed=1), wanted=(0, 1))


@pytest.mark.parametrize("bounds", [(0.0, 6.0), (-1.0, 1.0)])
def test_clip(bounds: tuple[float, float]) -> None:
    low, high = (np.array(b) for b in bounds)
    check("Clip", away(*bounds), low, high, fixed=(1, 2))
    check("Clip", away(bounds[0]), low, fixed=(1,))
    check("Clip", away())
