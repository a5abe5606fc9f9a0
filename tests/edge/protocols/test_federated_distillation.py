"""Tables of mean outputs, seeds that balance them, and seeds that are mixed and unmixed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.interfaces import Array
from edge.protocols import faug, mix2fld
from edge.protocols import federated_distillation as fd
from tests.fleets import Fleet, fleet


def tables(devices: int, labels: int, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {f"d{i}": random.dirichlet(np.ones(labels), labels) for i in range(devices)}


@given(st.integers(2, 8), st.integers(2, 12), st.integers(0, 1000))
def test_leave_one_out_is_sum_minus_own(devices: int, labels: int, seed: int) -> None:
    found = tables(devices, labels, seed)
    total = sum(found.values())
    for name, rows in fd.leave_one_out(found).items():
        np.testing.assert_allclose(rows, (total - found[name]) / (devices - 1), atol=1e-12)


def test_a_label_that_only_some_have_is_their_mean() -> None:
    found = tables(3, 4)
    found["d0"][1] = found["d1"][1] = 0.0  # only d2 has label 1
    found["d0"][2] = 0.0
    taught = fd.leave_one_out(found)
    np.testing.assert_array_equal(taught["d0"][1], found["d2"][1])
    np.testing.assert_array_equal(taught["d2"][1], 0)  # nobody else has it: nothing to learn
    np.testing.assert_allclose(taught["d1"][2], found["d2"][2])
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


def test_faug_levels_the_labels_from_the_others_seeds(tmp_path: Path) -> None:
    whole = play(tmp_path, "faug", devices=4, rounds=1, split="classes:5", settings={"seeds": 2})
    for device in whole.members:
        protocol = device.protocol
        assert isinstance(protocol, faug.FaugDevice)
        before = np.bincount(protocol.own.y, minlength=10)
        after = np.bincount(protocol.context.y, minlength=10)
        assert (before == 0).sum() == 5
        assert after.min() >= 0.5 * after.mean()
        assert (after[before > 0] == before[before > 0]).all()
        own = {row.tobytes() for row in protocol.own.x.reshape(len(protocol.own.x), -1)}
        assert not any(row[:-1].tobytes() in own for row in protocol.pool)  # nobody is given its own back


def test_faug_goes_on_with_the_same_samples_after_a_restart(tmp_path: Path) -> None:
    with fleet(tmp_path, "faug", split="classes:5", rounds=2) as whole:
        for _ in whole.rounds():
            pass
        kept = whole.members[0].protocol
        assert isinstance(kept, faug.FaugDevice)
        again = faug.FaugDevice(kept.own, kept.settings)
        again.load_state(kept.state())
        np.testing.assert_array_equal(again.context.x, kept.context.x)
        np.testing.assert_array_equal(again.context.y, kept.context.y)


def test_leakage() -> None:
    """Jeong et al. 2018: |target| / |target and redundant|, and over the union of all."""
    to_server, to_devices = faug.leakage([{1, 2}, {3}], [{4, 5}, {1}])
    assert to_server == [0.5, 0.5]
    assert to_devices == [2 / 5, 1 / 5]


@given(st.floats(0.01, 0.49), st.integers(0, 1000))
def test_unmixing_makes_labels_hard(ratio: float, seed: int) -> None:
    """Linear in the samples as in their labels: put one-hot labels in as samples, and hard ones must come out."""
    one_hot = np.eye(4)
    pairs = [(0, 1), (1, 0), (2, 3), (3, 2), (1, 2)]
    rows = np.array([[*(ratio * one_hot[a] + (1 - ratio) * one_hot[b]), a, b] for a, b in pairs])
    x, y = mix2fld.unmixed({"a": rows[[0, 2, 4]], "b": rows[[1, 3]]}, ratio)
    assert sorted(y) == [0, 1, 2, 3]  # the pair (1, 2) has no partner
    np.testing.assert_allclose(x, one_hot[y], atol=1e-5 / (1 - 2 * ratio))


def test_seeds_of_one_device_are_not_unmixed_with_each_other() -> None:
    rows = np.array([[0.1, 0.9, 0, 1], [0.9, 0.1, 1, 0]])
    assert len(mix2fld.unmixed({"a": rows}, 0.1)[1]) == 0
    assert len(mix2fld.unmixed({"a": rows[:1], "b": rows[1:]}, 0.1)[1]) == 2


def test_mixed_up_seeds_are_what_they_say() -> None:
    random = np.random.default_rng(0)
    y = np.repeat([0, 3, 7], 5)
    x = (np.eye(10)[y] + 0).astype(np.float32)
    rows = mix2fld.mixed_up(x, y, mix2fld.Mix2FldSettings(seeds=12, mixup_lambda=0.2), random)
    assert rows.shape == (12, 12)
    for *sample, a, b in rows.tolist():
        assert a != b
        np.testing.assert_allclose(sample, 0.2 * np.eye(10)[int(a)] + 0.8 * np.eye(10)[int(b)], atol=1e-6)
    assert len({(a, b) for *_, a, b in rows.tolist()}) == 6  # all pairs, in both orders
    assert len(mix2fld.mixed_up(x[:5], y[:5], mix2fld.Mix2FldSettings(), random)) == 0  # one label: nothing to mix


def test_mix2fld_sends_the_model_of_the_server(tmp_path: Path) -> None:
    whole = play(tmp_path, "mix2fld", split="classes:5", rounds=2)
    assert whole.centre.row["seeds"] > 20
    for device in whole.members:
        for name, value in whole.centre.engine.parameters().items():
            np.testing.assert_array_equal(device.engine.parameters()[name], value)
