"""Rules of export/gradients/scatter.py, top_k.py and reverse_sequence.py over their attribute grid."""

import numpy as np
import pytest

from export.errors import ExportError
from tests.export.directional import check, graph_of
from tests.export.gradients.test_elementwise import random


@pytest.mark.parametrize("reduction", ["none", "add"])
def test_scatter_nd(reduction: str) -> None:
    cells, rows = np.array([[0, 1], [2, 3], [1, 0]]), np.array([[2], [0]])
    check("ScatterND", random(3, 4, 2), cells, random(3, 2, seed=1), wanted=(0, 2), fixed=(1,), reduction=reduction)
    check("ScatterND", random(3, 4), rows, random(2, 4, seed=1), wanted=(0, 2), fixed=(1,), reduction=reduction)


@pytest.mark.parametrize("reduction", ["none", "add"])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_scatter_elements(axis: int, reduction: str) -> None:
    indices = np.array([[0, 2], [1, 0]]) if axis else np.array([[0, 2], [1, -2]])
    values = [random(3, 4), indices, random(2, 2, seed=1)]
    check("ScatterElements", *values, wanted=(0, 2), fixed=(1,), axis=axis, reduction=reduction)


def test_other_reductions_are_refused() -> None:
    values = [random(3, 4), np.array([[0]]), random(1, 4)]
    with pytest.raises(ExportError, match="reduction=mul has no gradient rule"):
        graph_of("ScatterND", values, wanted=[0], fixed=[1], reduction="mul")


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_top_k(axis: int, largest: int) -> None:
    check("TopK", random(4, 5, 6), np.array([3]), fixed=(1,), outputs=2, axis=axis, largest=largest)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0)])
def test_reverse_sequence(axes: tuple[int, int]) -> None:
    lengths = np.array([1, 4, 3, 2])
    check("ReverseSequence", random(4, 4, 3), lengths, fixed=(1,), time_axis=axes[0], batch_axis=axes[1])
