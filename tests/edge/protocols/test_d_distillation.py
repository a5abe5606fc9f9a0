"""The invariants of the tracking recursion (docs/algorithms.md), on the real path."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import mixing
from edge.interfaces import Array
from edge.protocols.d_distillation import DDistillation, Settings, plausible
from tests.fleets import Fleet, fleet


def tables(whole: Fleet, name: str) -> Array:
    """(devices, R, K): z or s of every device."""
    protocols = [d.protocol for d in whole.devices]
    assert all(isinstance(p, DDistillation) for p in protocols)
    return np.stack([getattr(p, name) for p in protocols])


@pytest.mark.parametrize("coding", ["float32", "float16", "probability8"])
@pytest.mark.parametrize("topology", ["ring", "star", "complete"])
def test_i1_the_mean_of_z_is_the_mean_of_s_whatever_the_coding(coding: str, topology: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"devices": 6, "topology": topology, "rounds": 12, "coding": {"soft_labels": coding}}
    with fleet(tmp_path, split="classes:4", **options) as whole:
        for _ in whole.rounds():
            drift = np.abs(tables(whole, "z").mean(axis=0) - tables(whole, "s").mean(axis=0)).max()
            assert drift < 1e-5
            sums = tables(whole, "z").sum(axis=2)
            np.testing.assert_allclose(sums, 1, atol=1e-3 if coding == "float16" else 1e-5)


def test_i4_entries_may_leave_the_simplex(tmp_path: Path) -> None:
    with fleet(tmp_path, devices=6, rounds=12, split="classes:4") as whole:
        for _ in whole.rounds():
            np.testing.assert_allclose(tables(whole, "z").sum(axis=2), 1, atol=1e-5)
        assert tables(whole, "z").min() < 0


def test_i2_disagreement_shrinks_by_the_second_eigenvalue(tmp_path: Path) -> None:
    """With the models frozen, what is left of a round's disagreement is at most |lambda_2|."""
    with fleet(tmp_path, devices=8, rounds=30, settings={"learning_rate": 1e-30}) as whole:
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
        settings={"learning_rate": 0.1, "pull": 1.0, "decay_after": 50},
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
    settings = {"reinitialise_every": 8}
    with fleet(tmp_path, rounds=9, patience=0.5, split="classes:4", settings=settings) as whole:
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


@pytest.mark.parametrize("bad", [{"pull": -1.0}, {"reference_batch": 0}, {"local_steps": 0}, {"learning_rate": 0.0}])
def test_impossible_settings(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        Settings(**bad)  # type: ignore[arg-type]


def test_the_rate_decays_as_stated() -> None:
    settings = Settings(learning_rate=0.4, decay_after=10)
    assert settings.rate(1) == 0.4
    assert settings.rate(11) == pytest.approx(0.4 / 2**0.75)
    assert Settings(learning_rate=0.4).rate(1000) == 0.4
