"""The invariants of the tracking recursion (docs/algorithms.md), on the real path."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import algorithm
from edge.graph import mixing
from edge.interfaces import Array
from edge.protocols._consensus import distilled
from edge.protocols.d_distillation import DDistillation, DDistillationSettings, plausible
from edge.task import CLASSIFICATION, REGRESSION, Task
from edge.weighting import target
from tests.fleets import Fleet, fleet
from tests.payloads import DIRECTED, ROUNDS, Case, H, K, R

PAPER = {"weighting": "none", "loss": "squared-error"}
PAYLOADS = [
    Case(ROUNDS * DIRECTED * (H + R * (K + 1))),
    Case(ROUNDS * DIRECTED * (H + 12 * (K + 1)), {"subset": 12}),
    Case(ROUNDS * DIRECTED * (H + R * (K + 1)), {"mixing": "plain"}),
    Case(ROUNDS * DIRECTED * (H + 4 * (R + 1) * (K + 1)), {"mixing": "push-sum"}),
    Case(ROUNDS * DIRECTED * (H + R * K), PAPER),
    Case(ROUNDS * DIRECTED * (H + 4 * (R + 1) * K), {**PAPER, "mixing": "push-sum"}),
]

MEAN: dict[str, Any] = {"aggregation": "mean"}
"""What the papers' invariants are about: a rule that doubts a neighbour takes some of its differences, not all."""


def tables(whole: Fleet, name: str) -> Array:
    """(devices, R, K): z or s of every device."""
    protocols = [d.protocol for d in whole.devices]
    assert all(isinstance(p, DDistillation) for p in protocols)
    return np.stack([getattr(p, name) for p in protocols])


@pytest.mark.parametrize("coding", ["float32", "float16", "simplex:8"])
@pytest.mark.parametrize("topology", ["ring", "star", "complete"])
def test_i1_the_mean_of_z_is_the_mean_of_s_whatever_the_coding(coding: str, topology: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"devices": 6, "topology": topology, "rounds": 12, "coding": {"soft_labels": coding}}
    with fleet(tmp_path, split="classes:4", **MEAN, **options) as whole:
        for _ in whole.rounds():
            drift = np.abs(tables(whole, "z").mean(axis=0) - tables(whole, "s").mean(axis=0)).max()
            assert drift < 1e-5
            sums = tables(whole, "z").sum(axis=2)
            np.testing.assert_allclose(sums, 1, atol=1e-3 if coding == "float16" else 1e-5)


def test_i4_entries_may_leave_the_simplex(tmp_path: Path) -> None:
    """A device that was sure of a class and no longer is takes more from an entry of z than there is in it."""
    with fleet(tmp_path, devices=6, rounds=6, split="classes:4", settings=PAPER) as whole:
        for number, _ in enumerate(whole.rounds()):
            z = tables(whole, "z")
            np.testing.assert_allclose(z.sum(axis=2), 1, atol=1e-5)
            if number == 1:
                assert z.min() < 0
            if number == 0:
                for device in whole.devices:
                    assert isinstance(device.protocol, DDistillation)
                    device.protocol.s = np.eye(10, dtype=np.float32)[np.zeros(z.shape[1], int)]
                    device.protocol.z = np.full(z.shape[1:], 0.1, np.float32)


def test_i2_disagreement_shrinks_by_the_second_eigenvalue(tmp_path: Path) -> None:
    """With the models frozen, what is left of a round's disagreement is at most |lambda_2|."""
    with fleet(tmp_path, devices=8, rounds=30, settings={"learning_rate": 1e-30, "forgetting": 0.0}, **MEAN) as whole:
        graph = whole.world.topology
        limit = mixing.second_eigenvalue(mixing.matrix(whole.world.weights, graph.nodes))
        random = np.random.default_rng(0)
        before = 0.0
        for number, _ in enumerate(whole.rounds()):
            z = tables(whole, "z")
            away = float(np.linalg.norm(z - tables(whole, "s").mean(axis=0)))
            if number == 0:  # start from very different opinions, whose mean is that of s
                push = random.standard_normal(z.shape) * 0.2
                push -= push.mean(axis=0)
                push -= push.mean(axis=2, keepdims=True)
                for device, p in zip(whole.devices, push, strict=True):
                    assert isinstance(device.protocol, DDistillation)
                    device.protocol.z = tables(whole, "s").mean(axis=0) + p
                away = float(np.linalg.norm(push))
            else:
                assert away <= limit * before * 1.001 + 1e-6
            before = away


def test_i3_the_gradient_of_the_regularised_loss_falls(tmp_path: Path) -> None:
    """Not step by step: the mean over the last rounds against that over the first."""
    with fleet(
        tmp_path,
        devices=8,
        split="classes:4",
        model="zoo:mlp:32",
        rounds=300,
        settings={**PAPER, "learning_rate": 0.1, "distillation_weight": 1.0, "decay_after": 50},
    ) as whole:
        norms = []
        for number, _ in enumerate(whole.rounds(), start=1):
            if number <= 20 or number > 280:
                norms.append(gradient_norm(whole))
        assert np.mean(norms[-20:]) < 0.4 * np.mean(norms[:20])


def gradient_norm(whole: Fleet) -> float:
    """Root mean square over the devices of the norm of grad F_n, with the true mean of all outputs."""
    mean = tables(whole, "s").mean(axis=0).astype(np.float32)
    total = 0.0
    for device, share in zip(whole.devices, whole.world.shares, strict=True):
        before = device.engine.state()
        batch = {
            "x": whole.world.dataset.x_train[share],
            "labels": whole.world.dataset.y_train[share],
            "reference_x": whole.world.reference.x,
            "reference_target": mean,
        }
        device.engine.step(batch, learning_rate=1.0, **{"weight/squared_error(reference)": 1.0})
        after = device.engine.state()
        total += sum(float(((before[k] - after[k]) ** 2).sum()) for k in before)
        device.engine.load_state(before)
    return float(np.sqrt(total / len(whole.devices)))


def test_i5_a_lost_message_breaks_the_mean_until_all_start_anew(tmp_path: Path) -> None:
    settings = {**PAPER, "reinitialise_every": 8}
    with fleet(tmp_path, rounds=9, round_timeout=0.5, split="classes:4", settings=settings) as whole:
        sender = whole.devices[0]
        send, drifts = sender.transport.send, []
        for number, _ in enumerate(whole.rounds(), start=1):
            lose = number == 2  # of the next round, one direction only
            sender.transport.send = (lambda *_: None) if lose else send  # type: ignore[method-assign]
            drifts.append(np.abs(tables(whole, "z").mean(axis=0) - tables(whole, "s").mean(axis=0)).max())
        assert max(drifts[:2]) < 1e-12
        assert min(drifts[2:7]) > 1e-4
        assert max(drifts[7:]) < 1e-12


@pytest.mark.parametrize(
    ("rows", "fine"),
    [
        (np.full((2, 4), 0.25), True),
        (np.array([[1.5, -0.5, 0.0, 0.0]]), True),
        (np.array([[1e30, -1e30, 1.0, 0.0]]), False),
        (np.array([[0.9, 0.0, 0.0, 0.0]]), False),
        (np.array([[4.0, -3.0, 0.0, 0.0]]), False),
        (np.array([[0.25] * 4, [9.0, -8.0, 0.0, 0.0]]), False),
    ],
)
def test_what_an_honest_neighbour_can_say(rows: Array, fine: bool) -> None:
    assert plausible(rows.astype(np.float32)) is fine


@pytest.mark.parametrize(
    "bad",
    [
        {"distillation_weight": -1.0},
        {"reference_batch": 0},
        {"local_steps": 0},
        {"learning_rate": 0.0},
        {"weighting": "loudest"},
    ],
)
def test_impossible_settings(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        DDistillationSettings(**bad)  # type: ignore[arg-type]


def test_the_rate_decays_as_stated() -> None:
    settings = DDistillationSettings(learning_rate=0.4, decay_after=10)
    assert settings.rate(1) == 0.4
    assert settings.rate(11) == pytest.approx(0.4 / 2**0.75)
    assert DDistillationSettings(learning_rate=0.4).rate(1000) == 0.4


@pytest.mark.parametrize("rows", [1, 40, 299])
def test_a_subset_keeps_the_mean_and_is_the_same_everywhere(rows: int, tmp_path: Path) -> None:
    with fleet(tmp_path, devices=5, rounds=8, split="classes:4", settings={"subset": rows}, **MEAN) as whole:
        for number, _ in enumerate(whole.rounds(), start=1):
            assert np.abs(tables(whole, "z").mean(axis=0) - tables(whole, "s").mean(axis=0)).max() < 1e-12
            drawn = [d.protocol.rows(number).tolist() for d in whole.devices]  # type: ignore[attr-defined]
            assert drawn == [drawn[0]] * 5
            assert len(set(drawn[0])) == rows
        assert sum(sum(d.inbox.counts.values()) for d in whole.devices) == 0
        assert whole.devices[0].protocol.rows(1).tolist() != drawn[0]  # type: ignore[attr-defined]


def test_plain_mixing_is_the_weighted_mean_of_the_neighbours(tmp_path: Path) -> None:
    with fleet(tmp_path, devices=4, rounds=3, split="classes:4", settings={"mixing": "plain"}, **MEAN) as whole:
        W = mixing.matrix(whole.world.weights, whole.world.names)
        before = np.empty(0)
        for _ in whole.rounds():
            if before.size:
                np.testing.assert_allclose(tables(whole, "z"), np.einsum("nm,mrk->nrk", W, before), atol=1e-6)
            before = tables(whole, "s")


def in_flight(whole: Fleet) -> Array:
    """What has been given and not yet taken, summed over all edges."""
    total: Array = np.zeros_like(whole.devices[0].protocol.mass)  # type: ignore[attr-defined]
    by_name = {d.id: d.protocol for d in whole.devices}
    for protocol in by_name.values():
        for i, j in enumerate(protocol.context.neighbours):  # type: ignore[attr-defined]
            total += by_name[j].given - protocol.taken[i]  # type: ignore[attr-defined]
    return total


def test_push_sum_loses_nothing(tmp_path: Path) -> None:
    """A third of all messages lost: mass on the devices and under way is that of all s, and the estimates recover."""
    settings = {"mixing": "push-sum", "learning_rate": 0.05}
    random = np.random.default_rng(0)
    options: dict[str, Any] = {"devices": 5, "rounds": 60, "split": "classes:4", "round_timeout": 0.5}
    with fleet(tmp_path, settings=settings, **options) as whole:
        sends = [d.transport.send for d in whole.devices]
        for number, _ in enumerate(whole.rounds(), start=1):
            mass = sum(d.protocol.mass for d in whole.devices) + in_flight(whole)  # type: ignore[attr-defined]
            # On the device z is of before the last give; its s is in the mass already.
            np.testing.assert_allclose(mass[:-1], tables(whole, "s").sum(axis=0), atol=2e-4)
            np.testing.assert_allclose(mass[-1], 5, atol=2e-4)
            for device, send in zip(whole.devices, sends, strict=True):

                def lossy(*message: Any, send: Any = send) -> None:
                    if random.random() > 1 / 3:
                        send(*message)

                device.transport.send = lossy if number < 30 else send  # type: ignore[method-assign, assignment]
        assert sum(d.row["timeouts"] for d in whole.devices) == 0
        away = np.abs(tables(whole, "z") - tables(whole, "s").mean(axis=0)).mean()
        assert away < 0.05


def test_push_sum_and_tracking_agree_where_nothing_is_lost(tmp_path: Path) -> None:
    few: dict[str, Any] = {**PAPER, "local_steps": 5}
    options: dict[str, Any] = {"devices": 4, "topology": "complete", "rounds": 12, "standardize": "never"}
    with (
        fleet(tmp_path / "a", settings={**few, "mixing": "push-sum"}, **options) as a,
        fleet(tmp_path / "b", settings=few, **options) as b,
    ):
        for _ in zip(a.rounds(), b.rounds(), strict=True):
            for whole in (a, b):
                away = np.abs(tables(whole, "z") - tables(whole, "s").mean(axis=0)).max()
                assert away < 0.2


@pytest.mark.parametrize("bad", [{"mixing": "push-sum", "subset": 5}, {"mixing": "push-sum", "reinitialise_every": 3}])
def test_push_sum_needs_no_starting_anew(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="push-sum talks about all rows"):
        DDistillationSettings(**bad)


def test_the_estimate_becomes_the_weighted_mean_of_the_whole_fleet(tmp_path: Path) -> None:
    """With the models frozen: N / D is sum_m w_m p_m / sum_m w_m, of everybody's outputs."""
    settings = {"learning_rate": 1e-30, "weighting": "largest", "forgetting": 0.0}
    options: dict[str, Any] = {"devices": 4, "rounds": 30, "model": ("zoo:mlp:16", "zoo:mlp:8")}
    with fleet(tmp_path, settings=settings, **options, **MEAN) as whole:
        for _ in whole.rounds():
            pass
        p = np.stack([d.engine.predict(whole.world.reference.x) for d in whole.devices]).astype(np.float64)
        w = p.max(axis=2, keepdims=True) ** 4
        mean = (w * p).sum(axis=0) / w.sum(axis=0)
        for z in tables(whole, "z"):
            np.testing.assert_allclose(target(z, K), mean, atol=1e-4)
            share = distilled(z, K)
            np.testing.assert_allclose(share.sum(axis=1), w.mean(axis=(0, 2)) / w.mean(), rtol=1e-3)


@pytest.mark.parametrize("mixing_", ["tracking", "plain", "push-sum"])
@pytest.mark.parametrize("loss", ["cross-entropy", "squared-error"])
def test_every_form_and_loss_distils(mixing_: str, loss: str, tmp_path: Path) -> None:
    """Devices of few classes learn the others."""
    options: dict[str, Any] = {"devices": 4, "topology": "complete", "rounds": 10, "split": "classes:4"}
    with fleet(tmp_path, settings={"mixing": mixing_, "loss": loss, "local_steps": 30}, **options) as whole:
        for _ in whole.rounds():
            pass
        test = whole.world.dataset
        accuracy = np.mean([(d.engine.predict(test.x_test).argmax(1) == test.y_test).mean() for d in whole.devices])
    assert accuracy > 0.5  # of 4 classes, nobody can know more than 0.45


@pytest.mark.parametrize(
    ("settings", "task", "rule"),
    [
        ({}, CLASSIFICATION, "agreement"),
        ({"mixing": "plain"}, CLASSIFICATION, "agreement"),
        ({"mixing": "push-sum"}, CLASSIFICATION, "mean"),
        (PAPER, CLASSIFICATION, "mean"),
        ({}, REGRESSION, "mean"),
    ],
)
def test_weighted_opinions_are_judged_unless_a_rule_is_named(settings: dict[str, Any], task: Task, rule: str) -> None:
    ours = algorithm.load("d-distillation", settings, "settings")
    assert ours.aggregation(None, task) == rule
    assert ours.aggregation("median", task) == "median"


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"forgetting": 1.0}, "from 0 to less than 1"),
        ({"forgetting": 0.1, "mixing": "plain"}, "plain has nothing to forget"),
        ({"forgetting": 0.1, "mixing": "push-sum"}, "push-sum has nothing to forget"),
    ],
)
def test_only_tracking_forgets(bad: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        DDistillationSettings(**bad)
