"""Rules of export/gradients/normalization.py over their attribute grid."""

import numpy as np
import pytest

from tests.export.directional import check
from tests.export.gradients.test_elementwise import random


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_layer_normalization(axis: int, bias: bool) -> None:
    shape = (3, 4, 5)
    parameters = [random(*shape[axis:], seed=i) for i in range(1, 3 if bias else 2)]
    check("LayerNormalization", random(*shape), *parameters, wanted=range(1 + len(parameters)), axis=axis)


@pytest.mark.parametrize("shape", [(2, 3, 6), (2, 3, 4, 5)])
def test_instance_normalization(shape: tuple[int, ...]) -> None:
    check("InstanceNormalization", random(*shape), random(3, seed=1), random(3, seed=2), wanted=(0, 1, 2), epsilon=1e-3)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalization(size: int) -> None:
    check("LRN", random(2, 6, 2, 3), size=size, alpha=0.5, beta=0.75, bias=1.5)


@pytest.mark.parametrize(("size", "shape"), [(4, (2, 6, 2, 3)), (3, (2, 5, 3))])
def test_local_response_normalization_that_the_runtime_does_not_run(size: int, shape: tuple[int, ...]) -> None:
    check("LRN", random(*shape), size=size, alpha=0.5, beta=0.75, bias=1.5, runtime=False)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalization(groups: int) -> None:
    inputs = random(2, 4, 3, 5), random(4, seed=1), random(4, seed=2)
    check("GroupNormalization", *inputs, wanted=(0, 1, 2), num_groups=groups, opset=21)


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 6), (2, 3, 4, 5)])
def test_batch_normalization_with_frozen_statistics(shape: tuple[int, ...]) -> None:
    statistics = random(3, seed=3), 0.5 + np.abs(random(3, seed=4))
    check("BatchNormalization", random(*shape), random(3, seed=1), random(3, seed=2), *statistics, wanted=(0, 1, 2))


def test_dropout_as_exported_for_inference() -> None:
    check("Dropout", random(3, 4))


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 6), (2, 3, 4, 5)])
def test_batch_normalization_by_the_batch(shape: tuple[int, ...]) -> None:
    statistics = random(3, seed=3), 0.5 + np.abs(random(3, seed=4))
    inputs = random(*shape), random(3, seed=1), random(3, seed=2), *statistics
    check("BatchNormalization", *inputs, wanted=(0, 1, 2), outputs=3, training_mode=1, momentum=0.0)


@pytest.mark.parametrize("axis", [-1, 1])
def test_layer_normalization_that_shows_its_statistics(axis: int) -> None:
    shape = (3, 4, 5)
    parameters = [random(*shape[axis:], seed=i) for i in (1, 2)]
    check("LayerNormalization", random(*shape), *parameters, wanted=(0, 1, 2), outputs=3, axis=axis)
