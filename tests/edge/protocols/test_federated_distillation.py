"""Tables of mean outputs by label (Jeong et al. 2018)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.interfaces import Array
from edge.protocols import federated_distillation as fd
from tests.fleets import Fleet, fleet
from tests.payloads import ROUNDS, Case, H, K, M

PAYLOADS = [Case(ROUNDS * 2 * M * (H + 4 * K * K))]


def tables(devices: int, labels: int, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {f"d{i}": random.dirichlet(np.ones(labels), labels) for i in range(devices)}


@given(st.integers(2, 8), st.integers(2, 12), st.integers(0, 1000))
def test_leave_one_out_is_sum_minus_own(devices: int, labels: int, seed: int) -> None:
    by_device = tables(devices, labels, seed)
    total = sum(by_device.values())
    for name, rows in fd.leave_one_out(by_device).items():
        np.testing.assert_allclose(rows, (total - by_device[name]) / (devices - 1), atol=1e-12)


def test_a_label_that_only_some_have_is_their_mean() -> None:
    by_device = tables(3, 4)
    by_device["d0"][1] = by_device["d1"][1] = 0.0  # only d2 has label 1
    by_device["d0"][2] = 0.0
    taught = fd.leave_one_out(by_device)
    np.testing.assert_array_equal(taught["d0"][1], by_device["d2"][1])
    np.testing.assert_array_equal(taught["d2"][1], 0)  # nobody else has it: nothing to learn
    np.testing.assert_allclose(taught["d1"][2], by_device["d2"][2])
    assert fd.plausible(taught["d2"])


@pytest.mark.parametrize(
    ("change", "fine"), [({}, True), ({0: 0.0}, True), ({0: 0.5}, False), ({1: 1e30}, False), ({2: -0.2}, False)]
)
def test_what_an_honest_table_looks_like(change: dict[int, float], fine: bool) -> None:
    rows = tables(1, 5)["d0"]
    for row, value in change.items():
        rows[row] = value
    assert fd.plausible(rows) is fine


def play(folder: Path, protocol: str, **changes: Any) -> Fleet:
    with fleet(folder, protocol, **changes) as whole:
        for _ in whole.rounds():
            pass
    return whole


def test_means_are_those_of_the_steps_and_the_teacher_is_the_others(tmp_path: Path) -> None:
    """With a rate of next to nothing the running means are the outputs of the unchanged model."""
    settings = {"local_steps": 30, "learning_rate": 1e-30}
    whole = play(tmp_path, "federated-distillation", devices=3, rounds=1, split="classes:4", settings=settings)
    means = {}
    for device, share in zip(whole.members, whole.world.shares, strict=True):
        x, y = whole.world.dataset.x_train[share], whole.world.dataset.y_train[share]
        out = device.engine.predict(x)
        means[device.id] = np.stack([out[y == c].mean(axis=0) if (y == c).any() else np.zeros(10) for c in range(10)])
    for device in whole.members:
        assert isinstance(device.protocol, fd.FdDevice)
        expected = fd.leave_one_out(means)[device.id]
        assert (device.protocol.teacher.any(axis=1) == expected.any(axis=1)).all()
        np.testing.assert_allclose(device.protocol.teacher, expected, atol=0.02)  # 30 batches, not all samples


def test_gamma_0_is_training_alone(tmp_path: Path) -> None:
    ours = play(tmp_path / "a", "federated-distillation", split="classes:4", settings={"gamma": 0.0})
    alone = play(tmp_path / "b", "isolated", split="classes:4")
    for a, b in zip(ours.members, alone.members, strict=True):
        for name, value in b.engine.parameters().items():
            np.testing.assert_allclose(a.engine.parameters()[name], value, atol=1e-6)
