"""Rules of export/gradients/softmax.py over their attribute grid."""

from typing import Any

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


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5, 4), (2, 4, 3)])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("ignored", [None, 1, -100])
def test_cross_entropy_in_all_its_forms(
    reduction: str, shape: tuple[int, ...], weighted: bool, ignored: int | None
) -> None:
    """Both outputs judged. The label to ignore may lie outside the classes."""
    labels = np.random.default_rng(0).integers(0, 4, (shape[0], *shape[2:]))
    labels.flat[0] = 2
    extra = [np.array([0.5, 2.0, 1.0, 0.1])] if weighted else []
    ignore: dict[str, Any] = {} if ignored is None else {"ignore_index": ignored}
    if ignored is not None:
        labels.flat[1] = ignored
    check(
        "SoftmaxCrossEntropyLoss",
        random(*shape),
        labels,
        *extra,
        fixed=(1, 2) if weighted else (1,),
        outputs=2,
        of=(0, 1),
        runtime=ignored != -100 or not weighted,
        reduction=reduction,
        **ignore,
    )
