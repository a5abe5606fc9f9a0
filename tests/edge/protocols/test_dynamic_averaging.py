"""The local condition, balancing, and what it is at its two ends (Kamp et al. 2018)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.interfaces import Array
from edge.protocols import dynamic_averaging as dynamic
from edge.protocols._averaging import agreeing, average
from edge.protocols._base import flatten
from edge_sim.result import Result
from tests.fleets import Fleet, fleet
from tests.payloads import ROUNDS, Case, H, M, P


def payload(result: Result) -> int:
    """m (h + 12) of status; 2 B (h + 4 P) + B (h + 4) for the balanced, h + 4 for whoever did not violate."""
    balanced, violators = (
        sum(round(r.metrics[f"coordinator/{what}"]) for r in result.rounds) for what in ("balanced", "violators")
    )
    assert balanced > 0
    quiet = ROUNDS * M - violators
    return ROUNDS * M * (H + 12) + balanced * (2 * (H + 4 * P) + H + 4) + quiet * (H + 4)


PAYLOADS = [Case(payload, {"threshold": 0.02}, {"split": "classes:4"})]

STREAM: dict[str, Any] = {"local_steps": 2, "batch_size": 8, "learning_rate": 0.2}


def weights(whole: Fleet) -> Array:
    """(devices, P) float64."""
    return np.stack([flatten(d.engine.parameters())[0] for d in whole.members]).astype(np.float64)


def divergence(rows: Array) -> float:
    return float(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("threshold", [0.05, 1.0])
def test_divergence_stays_below_the_threshold(threshold: float, weighted: bool, tmp_path: Path) -> None:
    """All local conditions together bound it, whatever subset was balanced."""
    settings = {**STREAM, "threshold": threshold, "weighted": weighted}
    with fleet(tmp_path, "dynamic-averaging", devices=5, rounds=25, split="dirichlet:0.5", settings=settings) as whole:
        balanced = []
        for _ in whole.rounds():
            balanced.append(whole.centre.row["balanced"])
            assert divergence(weights(whole)) <= threshold * (1 + 1e-6)
        assert max(balanced) > 0


@pytest.mark.parametrize("weighted", [False, True])
def test_one_violator_is_balanced_by_one_other(weighted: bool, tmp_path: Path) -> None:
    """At 1.5 of the threshold: half the way is 0.375 of it, so that nobody else is asked and the reference stays."""
    settings = {**STREAM, "learning_rate": 1e-30, "threshold": 0.05, "weighted": weighted}
    with fleet(tmp_path, "dynamic-averaging", devices=5, rounds=3, settings=settings) as whole:
        balanced = []
        for number, _ in enumerate(whole.rounds(), start=1):
            balanced.append(whole.centre.row["balanced"])
            if number == 1:
                engine = whole.members[0].engine
                parameters = engine.parameters()
                push = (1.5 * 0.05 / sum(p.size for p in parameters.values())) ** 0.5
                engine.load_parameters({k: p + np.float32(push) for k, p in parameters.items()})
        assert balanced == [0, 2, 0]
        apart = weights(whole) - whole.centre.protocol.reference  # type: ignore[attr-defined]
        distances = sorted((apart**2).sum(axis=1) / 0.05)
        assert distances == pytest.approx([0, 0, 0, 0.375, 0.375], abs=1e-3)


def test_threshold_0_is_continuous_averaging_bit_for_bit(tmp_path: Path) -> None:
    local = {**STREAM, "local_steps": 1}
    with (
        fleet(tmp_path / "a", "dynamic-averaging", rounds=6, settings={**local, "threshold": 0.0}) as ours,
        fleet(tmp_path / "b", "periodic-averaging", rounds=6, settings=local) as theirs,
    ):
        for _ in zip(ours.rounds(), theirs.rounds(), strict=True):
            np.testing.assert_array_equal(weights(ours), weights(theirs))


def test_an_endless_threshold_is_training_alone(tmp_path: Path) -> None:
    with (
        fleet(tmp_path / "a", "dynamic-averaging", settings={**STREAM, "threshold": 1e30}) as ours,
        fleet(tmp_path / "b", "isolated", settings=STREAM) as theirs,
    ):
        for _ in zip(ours.rounds(), theirs.rounds(), strict=True):
            np.testing.assert_array_equal(weights(ours), weights(theirs))
        assert sum(d.row["violated"] for d in ours.members) == 0


def test_continuous_averaging_is_one_serial_step_on_the_union(tmp_path: Path) -> None:
    """The mean of steps on batches of one size is the step on all of them: equal weights, mean gradients."""
    settings = {"local_steps": 1, "batch_size": 16, "order": "stream", "learning_rate": 0.5}
    with fleet(tmp_path, "periodic-averaging", devices=4, rounds=3, settings=settings) as whole:
        serial = whole.members[0].engine.__class__(whole.members[0].bundle)  # type: ignore[call-arg]
        x, y = whole.world.dataset.x_train, whole.world.dataset.y_train
        for number, _ in enumerate(whole.rounds()):
            rows = np.concatenate([share[number * 16 : (number + 1) * 16] for share in whole.world.shares])
            serial.step({"x": x[rows], "labels": y[rows]}, learning_rate=0.5)
            for row in weights(whole):
                np.testing.assert_allclose(row, flatten(serial.parameters())[0], atol=1e-6)


def test_serial_equivalence_in_double_precision() -> None:
    """Softmax regression by hand: the mean of m steps with mean gradients is one step with the mean of all rows."""
    random = np.random.default_rng(0)
    w, x, y = random.standard_normal((5, 3)), random.standard_normal((4, 8, 5)), random.integers(3, size=(4, 8))

    def step(rows: Array, labels: Array) -> Array:
        z = rows @ w
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        gradient: Array = rows.T @ (p - np.eye(3)[labels]) / len(rows)
        return w - 0.3 * gradient

    each = {str(i): step(x[i], y[i]).reshape(1, -1) for i in range(4)}
    whole = step(x.reshape(-1, 5), y.reshape(-1))
    np.testing.assert_allclose(average(each), whole.reshape(1, -1), atol=1e-15)
    uneven = {"a": step(x[0], y[0]).reshape(1, -1), "b": step(x[1:].reshape(-1, 5), y[1:].reshape(-1)).reshape(1, -1)}
    np.testing.assert_allclose(average(uneven, {"a": 8.0, "b": 24.0}), whole.reshape(1, -1), atol=1e-15)


def test_violations_add_up_to_a_full_synchronisation(tmp_path: Path) -> None:
    """v counts violators over the checks; at v >= m all are averaged, the reference moves, and v is 0 again."""
    settings = {**STREAM, "threshold": 0.01}
    with fleet(tmp_path, "dynamic-averaging", devices=5, rounds=40, split="dirichlet:0.3", settings=settings) as whole:
        centre, v, full = whole.centre.protocol, 0.0, 0
        assert isinstance(centre, dynamic.Coordinator)
        for number, _ in enumerate(whole.rounds(), start=1):
            row = whole.centre.row
            v += row["violators"]
            if v >= 5:
                assert row["balanced"] == 5
            if row["balanced"] == 5:
                assert centre.version[0] == number
                full, v = full + 1, 0.0
                for device in whole.members:
                    assert isinstance(device.protocol, dynamic.DynamicLearner)
                    np.testing.assert_array_equal(device.protocol.reference, centre.reference)
                    np.testing.assert_array_equal(flatten(device.engine.parameters()), centre.reference)
            else:
                assert centre.version[0] != number
            assert centre.violations[0] == v
        assert full > 1


def test_who_missed_a_synchronisation_is_given_the_reference(tmp_path: Path) -> None:
    with fleet(tmp_path, "dynamic-averaging", devices=3, rounds=8, settings={**STREAM, "threshold": 0.02}) as whole:
        for number, _ in enumerate(whole.rounds(), start=1):
            stale = whole.members[1].protocol
            assert isinstance(stale, dynamic.DynamicLearner)
            centre = whole.centre.protocol
            assert isinstance(centre, dynamic.Coordinator)
            if number == 5:
                assert centre.version[0] > 0
                stale.version, stale.reference = np.zeros(1), np.zeros_like(stale.reference)
            if number == 6:
                assert stale.version[0] in (centre.version[0], 6)
                np.testing.assert_array_equal(stale.reference, centre.reference)


def test_averages() -> None:
    rows = {"b": np.full((1, 3), 4.0), "a": np.full((1, 3), 1.0)}
    np.testing.assert_array_equal(average(rows), np.full((1, 3), 2.5))
    np.testing.assert_allclose(average(rows, {"a": 3.0, "b": 1.0}), np.full((1, 3), 1.75))
    crowd = {**rows, "c": np.full((1, 3), 1e30)}
    assert agreeing(crowd).keys() == {"a", "b"}
    assert agreeing({}) == {}


@pytest.mark.parametrize("bad", [{"threshold": -1.0}, {"sync_interval": 0}, {"augment": 0}])
def test_impossible_settings(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="threshold must not be negative"):
        dynamic.DynamicAveragingSettings(**bad)
