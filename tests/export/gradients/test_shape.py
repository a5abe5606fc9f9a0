"""Rules of export/gradients/shape.py and reduce.py over their attribute grid."""

from typing import Any

import numpy as np
import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random, spaced


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_flatten(axis: int) -> None:
    check("Flatten", random(2, 3, 4), axis=axis)


@pytest.mark.parametrize("target", [[2, 12], [-1, 4], [0, -1], [4, 3, 2]])
def test_reshape(target: list[int]) -> None:
    check("Reshape", random(2, 3, 4), np.array(target), fixed=(1,))


def test_squeeze_and_unsqueeze() -> None:
    check("Squeeze", random(2, 1, 4), np.array([1]), fixed=(1,))
    check("Unsqueeze", random(2, 4), np.array([0, 2]), fixed=(1,))


@pytest.mark.parametrize("perm", [[2, 0, 1], [0, 2, 1], None])
def test_transpose(perm: list[int] | None) -> None:
    attributes: dict[str, Any] = {"perm": perm} if perm else {}
    check("Transpose", random(2, 3, 4), **attributes)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_concat(axis: int) -> None:
    other = [2, 3]
    other[axis] = 4
    check("Concat", random(2, 3), random(*other, seed=1), wanted=(0, 1), axis=axis)


@pytest.mark.parametrize(("axis", "sizes"), [(0, [1, 3]), (1, [2, 4]), (-1, [5, 1])])
def test_split(axis: int, sizes: list[int]) -> None:
    check("Split", random(4, 6), np.array(sizes), fixed=(1,), outputs=2, axis=axis)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", [[0], [1], [0, 2], [-1], [0, 1, 2]])
@pytest.mark.parametrize(
    "op_type", ["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "ReduceMax", "ReduceMin"]
)
def test_reductions(op_type: str, axes: list[int], keepdims: int) -> None:
    check(op_type, *spaced((2, 3, 4)), np.array(axes), fixed=(1,), keepdims=keepdims)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("op_type", ["ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "ReduceMax"])
def test_reductions_over_everything(op_type: str, keepdims: int) -> None:
    check(op_type, *spaced((2, 3, 4)), keepdims=keepdims)
