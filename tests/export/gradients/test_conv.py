"""The rule of export/gradients/conv.py over its attribute grid."""

from itertools import product

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from export.graph.builder import GraphBuilder
from export.passes import optimize
from export.training.autodiff import gradients
from tests.export.directional import check, model_of
from tests.export.gradients.test_elementwise import random
from tests.export.reference_ops import CORRECTED

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


@pytest.mark.parametrize(("stride", "kernel", "pads"), [(1, 3, [1] * 4), (2, 3, [1] * 4), (1, 2, [0, 1, 0, 1])])
def test_small_depthwise_images_become_one_product(stride: int, kernel: int, pads: list[int]) -> None:
    """The depthwise product has the same values as the convolution, and its gradients are the same too."""
    X, W, B = random(2, 3, 4, 4), random(3, 1, kernel, kernel, seed=1), random(3, seed=2)
    ops = []
    for rewrite in (True, False):
        op = GraphBuilder(18)
        names = [
            op.argument(n, np.float64, ["N", *v.shape[1:]] if n == "x" else v.shape)
            for n, v in zip("xwb", (X, W, B), strict=True)
        ]
        y = op("Conv", *names, group=3, strides=[stride] * 2, pads=pads)
        if rewrite:
            y = optimize(op, [y], training=True)[y]
        u = op.argument("u", np.float64, op.shape(y))
        adjoints = gradients(op, {y: u}, names)
        ops.append((op, model_of(op, [*names, u], [y, *adjoints.values()])))
        shape = (2, *op.sample(y))
    assert "Conv" not in {n.op_type for n in ops[0][0].nodes}
    feeds = {"x": X, "w": W, "b": B, "u": random(*shape, seed=4)}
    one, two = (ReferenceEvaluator(m, new_ops=CORRECTED).run(None, feeds) for _, m in ops)
    for mine, theirs in zip(one, two, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-12)
