"""The rule of export/gradients/conv.py over its attribute grid."""

from itertools import product

import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random

GRID = list(product([1, 2, 3], [1, 2], [1, 2, 4], [0, 1, 2]))


@pytest.mark.parametrize(("stride", "dilation", "group", "pad"), GRID)
def test_two_dimensions(stride: int, dilation: int, group: int, pad: int) -> None:
    check(
        "Conv",
        random(2, 4, 9, 8),
        random(8, 4 // group, 3, 2, seed=1),
        random(8, seed=2),
        wanted=(0, 1, 2),
        strides=[stride, stride],
        dilations=[dilation, 1],
        group=group,
        pads=[pad, 0, 1, pad],
    )


@pytest.mark.parametrize(("stride", "dilation", "group", "pad"), GRID)
def test_one_dimension(stride: int, dilation: int, group: int, pad: int) -> None:
    check(
        "Conv",
        random(2, 4, 11),
        random(8, 4 // group, 3, seed=1),
        wanted=(0, 1),
        strides=[stride],
        dilations=[dilation],
        group=group,
        pads=[pad, 1],
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_three_dimensions(stride: int) -> None:
    check("Conv", random(2, 2, 5, 4, 6), random(3, 2, 2, 3, 2, seed=1), wanted=(0, 1), strides=[stride] * 3)


@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise(multiplier: int) -> None:
    check("Conv", random(2, 3, 6, 6), random(3 * multiplier, 1, 3, 3, seed=1), wanted=(0, 1), group=3, pads=[1] * 4)


def test_unequal_strides() -> None:
    check("Conv", random(2, 2, 7, 9), random(3, 2, 2, 3, seed=1), wanted=(0, 1), strides=[1, 3], pads=[0, 1, 0, 0])


@pytest.mark.parametrize(("dilation", "group"), list(product([1, 2], [1, 2])))
@pytest.mark.parametrize(("stride", "extra"), [(1, 0), (2, 0), (2, 1), (3, 2)])
def test_conv_transpose(stride: int, dilation: int, group: int, extra: int) -> None:
    check(
        "ConvTranspose",
        random(2, 4, 5, 4),
        random(4, 6 // group, 3, 2, seed=1),
        random(6, seed=2),
        wanted=(0, 1, 2),
        strides=[stride, stride],
        dilations=[dilation, dilation],
        group=group,
        pads=[1, 0, 0, 1],
        output_padding=[extra, 0],
    )
