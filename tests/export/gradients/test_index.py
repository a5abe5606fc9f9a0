"""Rules of export/gradients/index.py over their attribute grid."""

import numpy as np
import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random

FAR = 2**31 - 1


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [4], [0], None),
        ([1, 0], [3, 5], [0, 2], None),
        ([-3], [-1], [1], None),
        ([0], [FAR], [1], [2]),
        ([1], [5], [2], [3]),
        ([-1], [-FAR], [2], [-1]),
        ([4], [0], [1], [-2]),
        ([1, 0, 2], [4, 5, 6], [0, 1, 2], [1, 2, 3]),
    ],
)
def test_slice(starts: list[int], ends: list[int], axes: list[int], steps: list[int] | None) -> None:
    extra = [np.array(axes)] + ([np.array(steps)] if steps else [])
    check("Slice", random(4, 5, 6), np.array(starts), np.array(ends), *extra, fixed=range(1, 3 + len(extra)))


def test_slice_without_axes() -> None:
    check("Slice", random(4, 5), np.array([1, 2]), np.array([3, 4]), fixed=(1, 2))


@pytest.mark.parametrize("pads", [[0, 1, 2, 0], [1, 0, 0, 0], [0, 0, 0, 0], [2, 2, 1, 1]])
def test_pad(pads: list[int]) -> None:
    check("Pad", random(3, 4), np.array(pads), fixed=(1,))
    check("Pad", random(3, 4), np.array(pads), np.array(0.5), fixed=(1, 2))


def test_pad_of_some_axes() -> None:
    check("Pad", random(3, 4, 5), np.array([1, 2]), np.array(0.0), np.array([-1]), fixed=(1, 2, 3))


@pytest.mark.parametrize("shape", [(3, 1), (1,), (1, 4), (3, 4)])
def test_expand(shape: tuple[int, ...]) -> None:
    check("Expand", random(*shape), np.array([2, 3, 4]), fixed=(1,))


@pytest.mark.parametrize("repeats", [[1, 2, 3], [2, 1, 1], [1, 1, 1]])
def test_tile(repeats: list[int]) -> None:
    check("Tile", random(2, 3, 4), np.array(repeats), fixed=(1,))


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    "indices", [np.array([0, 2, 2, 1]), np.array([[0, 1], [2, 2]]), np.array(1), np.array([-1, 0])]
)
def test_gather(axis: int, indices: np.ndarray) -> None:
    check("Gather", random(3, 4, 5), indices, fixed=(1,), axis=axis)
