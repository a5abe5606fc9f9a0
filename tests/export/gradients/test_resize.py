"""The rule of export/gradients/resize.py over its attribute grid."""

from typing import Any

import numpy as np
import pytest

from export.errors import ExportError
from tests.export.directional import check, graph_of
from tests.export.gradients.test_elementwise import random

NONE = np.zeros(0, np.float32)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("transform", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("scales", [[1, 1, 2, 2], [1, 1, 2, 3], [1, 1, 0.5, 0.75], [1, 1, 1.5, 1]])
def test_scales(mode: str, transform: str, scales: list[float]) -> None:
    """Cubic is checked against the evaluator only: the runtime rounds its coefficients otherwise."""
    attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": transform}
    x, s = random(2, 3, 4, 8), np.array(scales, np.float32)
    check("Resize", x, NONE, s, fixed=(1, 2), single=(1, 2), runtime=mode != "cubic", **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_sizes(mode: str) -> None:
    sizes = np.array([2, 3, 7, 5])
    check("Resize", random(2, 3, 4, 6), None, None, sizes, fixed=(3,), mode=mode)


def test_only_some_axes() -> None:
    check(
        "Resize",
        random(2, 3, 4, 6),
        None,
        np.array([2.0], np.float32),
        fixed=(2,),
        single=(2,),
        mode="linear",
        axes=[3],
    )


def test_what_has_no_rule_is_named() -> None:
    x, s = random(2, 3, 4, 6), np.array([1, 1, 2, 2], np.float32)
    with pytest.raises(ExportError, match="tf_crop_and_resize"):
        graph_of(
            "Resize",
            [x, NONE, s],
            wanted=[0],
            fixed=[1, 2],
            coordinate_transformation_mode="tf_crop_and_resize",
            mode="linear",
        )
    with pytest.raises(ExportError, match="must be constant"):
        graph_of("Resize", [x, NONE, s], wanted=[0], fixed=[1], mode="linear")
