"""Rules of export/gradients/product.py and lp_normalization.py over their attribute grid."""

import numpy as np
import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[1], [-1], [1, 2], [2, 1]])
def test_reduce_product(axes: list[int], keepdims: int) -> None:
    check("ReduceProd", random(3, 4, 2), np.array(axes), fixed=(1,), keepdims=keepdims)


@pytest.mark.parametrize("zeros", [1, 2])
def test_factors_that_are_zero(zeros: int) -> None:
    x = random(3, 4)
    x[1, :zeros] = 0
    check("ReduceProd", x, np.array([1]), fixed=(1,))


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_cumulative_product(axis: int, reverse: int, exclusive: int) -> None:
    x = random(3, 4, 2)
    x[1, 1] = x[2, 0] = 0
    check("CumProd", x, np.array(axis), fixed=(1,), opset=26, reverse=reverse, exclusive=exclusive)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_lp_normalization(axis: int, p: int) -> None:
    check("LpNormalization", random(3, 4, 5), axis=axis, p=p)
