"""Rules of export/gradients/elementwise.py over their attribute grid."""

import numpy as np
import pytest

from tests.export.directional import check

BROADCASTS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((2, 3, 4), (3, 1)),
    ((2, 1, 4), (3, 1)),
    ((3, 4), ()),
    ((1, 1), (3, 4)),
]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("a", "b"), BROADCASTS)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
def test_binary(op_type: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check(op_type, random(*a), random(*b, seed=1), wanted=(0, 1))


@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_div(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check("Div", random(*a), 0.5 + np.abs(random(*b, seed=1)), wanted=(0, 1))


@pytest.mark.parametrize("op_type", ["Identity", "Tanh", "Sigmoid"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_unary(op_type: str, shape: tuple[int, ...]) -> None:
    check(op_type, random(*shape))


def test_relu_away_from_its_kink() -> None:
    x = random(4, 5)
    check("Relu", np.sign(x) * (0.1 + np.abs(x)))
