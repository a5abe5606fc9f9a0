"""Rules of export/gradients/grid_sample.py, roi_align.py and col2im.py over their attribute grid."""

from typing import Any

import numpy as np
import pytest

from export.errors import ExportError
from tests.export.directional import check, graph_of
from tests.export.gradients.test_elementwise import random


def points(*shape: int, size: tuple[int, ...], corners: int, seed: int = 2) -> np.ndarray:
    """Points inside and outside the image, none near where the cells change or the image ends."""
    rng = np.random.default_rng(seed)
    quarters = rng.integers(-8, 4 * max(size) + 8, (*shape, len(size))) // 4 + rng.choice([0.2, 0.3, 0.7, 0.8])
    last = np.array(size[::-1]) - 1  # the last number of a point belongs to the first axis
    return np.asarray(2 * quarters / last - 1 if corners else (2 * quarters + 1) / (last + 1) - 1)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize(("mode", "wanted"), [("linear", (0, 1)), ("nearest", (0,))])
def test_grid_sample(mode: str, wanted: tuple[int, ...], padding: str, corners: int) -> None:
    settings: dict[str, Any] = {"mode": mode, "padding_mode": padding, "align_corners": corners}
    grid = points(2, 3, 4, size=(4, 5), corners=corners)
    check("GridSample", random(2, 3, 4, 5), grid, wanted=wanted, **settings)


def test_grid_sample_of_a_volume() -> None:
    grid = points(2, 2, 3, 2, size=(3, 4, 5), corners=0)
    check("GridSample", random(2, 2, 3, 4, 5), grid, wanted=(0, 1), mode="linear", padding_mode="border")


def test_cubic_sampling_is_refused() -> None:
    with pytest.raises(ExportError, match="mode=cubic has no gradient rule"):
        graph_of("GridSample", [random(1, 1, 4, 4), random(1, 2, 2, 2)], wanted=[0], mode="cubic")


BOXES = np.array([[1.1, 0.7, 8.37, 6.9], [-3.0, 2.2, 2.4, 14.1], [5.2, 5.3, 5.4, 5.6]])


@pytest.mark.parametrize("alignment", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize(("samples", "scale"), [(2, 0.5), (3, 1.0)])
def test_roi_align(alignment: str, samples: int, scale: float) -> None:
    settings: dict[str, Any] = {
        "sampling_ratio": samples,
        "spatial_scale": scale,
        "coordinate_transformation_mode": alignment,
    }
    batch = np.array([1, 0, 1])
    check("RoiAlign", random(2, 3, 6, 5), BOXES, batch, fixed=(2,), output_height=2, output_width=3, **settings)


@pytest.mark.parametrize(
    ("settings", "wanted", "reason"),
    [
        ({"mode": "max", "sampling_ratio": 2}, [0], "only mode=avg"),
        ({}, [0], "sampling_ratio above 0"),
        ({"sampling_ratio": 2}, [1], "its boxes depend on parameters"),
    ],
)
def test_what_roi_align_refuses(settings: dict[str, Any], wanted: list[int], reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        graph_of("RoiAlign", [random(2, 3, 6, 5), BOXES, np.array([1, 0, 1])], wanted=wanted, fixed=[2], **settings)


@pytest.mark.parametrize(
    "settings", [{}, {"strides": [2, 1], "pads": [1, 0, 1, 2]}, {"dilations": [2, 1], "strides": [1, 2]}]
)
def test_col2im(settings: dict[str, Any]) -> None:
    image, block = np.array([6, 5]), np.array([2, 3])
    stride, dilation, pads = (
        settings.get(k, v) for k, v in (("strides", [1, 1]), ("dilations", [1, 1]), ("pads", [0] * 4))
    )
    positions = [
        (image[i] + pads[i] + pads[2 + i] - dilation[i] * (block[i] - 1) - 1) // stride[i] + 1 for i in range(2)
    ]
    check("Col2Im", random(2, 3 * 6, int(np.prod(positions))), image, block, fixed=(1, 2), **settings)
