"""Rules of export/gradients/softmax.py over their attribute grid."""

import numpy as np
import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax"])
def test_softmax(op_type: str, axis: int) -> None:
    check(op_type, 3 * random(3, 5), axis=axis)
    check(op_type, 3 * random(2, 3, 4), axis=axis)


@pytest.mark.parametrize("rows", [1, 5])
def test_cross_entropy(rows: int) -> None:
    check("SoftmaxCrossEntropyLoss", random(rows, 4), np.arange(rows) % 4, outputs=2)
