"""Rules of export/gradients/index.py over their attribute grid."""

import numpy as np
import pytest

from export.errors import ExportError
from tests.export.directional import check, graph_of
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
    check("Gather", random(3, 4, 5), indices.astype(np.int32), fixed=(1,), axis=axis)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_elements(axis: int) -> None:
    indices = np.random.default_rng(0).integers(0, 3, (3, 4))
    check("GatherElements", random(3, 4), indices, fixed=(1,), axis=axis)


def test_gather_nd() -> None:
    check("GatherND", random(3, 4, 2), np.array([[0, 1], [2, 3], [0, 1]]), fixed=(1,))
    with pytest.raises(ExportError, match="batch_dims"):
        graph_of("GatherND", [random(3, 4, 2), np.zeros((3, 1), int)], wanted=[0], fixed=[1], batch_dims=1)


@pytest.mark.parametrize("upper", [0, 1])
def test_trilu(upper: int) -> None:
    check("Trilu", random(2, 4, 5), np.array(1), fixed=(1,), upper=upper)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumulative_sum(exclusive: int, reverse: int) -> None:
    check("CumSum", random(3, 4), np.array(1), fixed=(1,), exclusive=exclusive, reverse=reverse)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(mode: str) -> None:
    check("DepthToSpace", random(2, 12, 2, 3), blocksize=2, mode=mode)


def test_space_to_depth() -> None:
    check("SpaceToDepth", random(2, 3, 4, 6), blocksize=2)
