"""Rules of export/gradients/pool.py over their attribute grid; ties get a valid subgradient."""

from typing import Any

import numpy as np
import onnxruntime  # noqa: TID251
import pytest

from tests.export.directional import check, graph_of
from tests.export.gradients.test_elementwise import random, spaced

TWO = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 2], "strides": [3, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "strides": [1, 1], "pads": [1, 0, 0, 1]},
    {"kernel_shape": [2, 2], "strides": [3, 2]},
    {"kernel_shape": [2, 2]},
]


@pytest.mark.parametrize("attributes", [*TWO, {"kernel_shape": [3, 2], "dilations": [2, 1], "pads": [1, 0, 0, 1]}])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 9, 7)])
def test_max_pool(attributes: dict[str, Any], shape: tuple[int, ...]) -> None:
    check("MaxPool", *spaced(shape), **attributes)


@pytest.mark.parametrize("include", [0, 1])
@pytest.mark.parametrize("attributes", TWO)
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 9, 7)])
def test_average_pool(attributes: dict[str, Any], shape: tuple[int, ...], include: int) -> None:
    check("AveragePool", random(*shape), count_include_pad=include, **attributes)


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("attributes", [{"kernel_shape": [2], "strides": [2]}, {"kernel_shape": [3], "pads": [1, 1]}])
def test_one_dimension(op_type: str, attributes: dict[str, Any]) -> None:
    check(op_type, *spaced((2, 3, 8)), **attributes)


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 4, 5)])
@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op_type: str, shape: tuple[int, ...]) -> None:
    check(op_type, *spaced(shape))


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 2], "strides": [1, 1]},
    ],
)
@pytest.mark.parametrize("background", [0.0, 0.5])
def test_ties_share_the_gradient(attributes: dict[str, Any], background: float) -> None:
    """A constant background ties exactly; a compare mask alone would give each window's dY several times."""
    x = np.full((1, 1, 8, 8), background, np.float32)
    x[0, 0, 2:5, 3:6] = np.random.default_rng(0).random((3, 3)) + 1
    forward, backward = graph_of("MaxPool", [x], wanted=[0], **attributes)
    providers = ["CPUExecutionProvider"]
    y = onnxruntime.InferenceSession(forward.SerializeToString(), providers=providers).run(None, {"x0": x})[0]
    gradient = onnxruntime.InferenceSession(backward.SerializeToString(), providers=providers)
    total = np.zeros_like(x)
    for at in np.ndindex(y.shape):  # one window at a time
        u = np.zeros_like(y)
        u[at] = 1
        dx = gradient.run(None, {"x0": x, "u": u})[0]
        assert dx.sum() == pytest.approx(1)
        assert (dx >= 0).all()
        assert (x[dx > 0] == y[at]).all()
        total += dx
    together = gradient.run(None, {"x0": x, "u": np.ones_like(y)})[0]
    np.testing.assert_allclose(together, total, atol=1e-6)
