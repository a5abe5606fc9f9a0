"""Averaging weights."""

from pathlib import Path

import numpy as np

from edge.protocols._base import flatten, unflatten
from edge.protocols.d_psgd import DPSGD
from tests.fleets import fleet
from tests.payloads import DIRECTED, ROUNDS, Case, H, P

PAYLOADS = [
    Case(ROUNDS * DIRECTED * (H + 4 * P)),
    Case(ROUNDS * DIRECTED * (H + 2 * P), {"momentum": 0.9}, {"coding": {"weights": "float16"}}),
]


def test_models_agree_and_keep_their_mean(tmp_path: Path) -> None:
    """With a rate of next to nothing only mixing is left: the mean stays, the differences go."""
    settings = {"learning_rate": 1e-30}
    with fleet(tmp_path, "d-psgd", devices=6, rounds=40, settings=settings) as whole:
        random = np.random.default_rng(0)
        for device in whole.devices:
            shifted = {
                k: v + random.standard_normal(v.shape).astype(np.float32) for k, v in device.engine.parameters().items()
            }
            device.engine.load_parameters(shifted)
        start = np.stack([flatten(d.engine.parameters())[0] for d in whole.devices])
        for _ in whole.rounds():
            pass
        end = np.stack([flatten(d.engine.parameters())[0] for d in whole.devices])
    np.testing.assert_allclose(end.mean(axis=0), start.mean(axis=0), atol=1e-5)
    assert np.linalg.norm(end - end.mean(axis=0)) < 1e-3 * np.linalg.norm(start - start.mean(axis=0))


def test_one_step_is_the_formula(tmp_path: Path) -> None:
    with (
        fleet(tmp_path, "d-psgd", devices=3, topology="star", rounds=1, settings={"local_steps": 1}) as whole,
        fleet(tmp_path, "isolated", devices=3, topology="star", rounds=1, settings={"local_steps": 1}) as alone,
    ):
        for _ in whole.rounds():
            pass
        for _ in alone.rounds():
            pass
        stepped = {d.id: flatten(d.engine.parameters())[0] for d in alone.devices}
        for device in whole.devices:
            expected = sum(w * stepped[j] for j, w in whole.world.weights[device.id].items())
            np.testing.assert_allclose(flatten(device.engine.parameters())[0], expected, atol=1e-6)


def test_flatten_and_back() -> None:
    values = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones((), np.float32)}
    row = flatten(values)
    assert row.shape == (1, 7)
    for name, value in unflatten(row, values).items():
        np.testing.assert_array_equal(value, values[name])


def test_quasi_global_momentum_is_the_formula(tmp_path: Path) -> None:
    """m <- mu m + (1 - mu)(before - after) / (eta K), and each step moves by -eta mu m besides (Lin et al. 2021)."""
    settings = {"momentum": 0.8, "local_steps": 3, "learning_rate": 0.05}
    with fleet(tmp_path, "d-psgd", devices=3, rounds=4, settings=settings) as whole:
        device = whole.devices[0]
        assert isinstance(device.protocol, DPSGD)
        before, buffer = flatten(device.engine.parameters()), np.zeros((1, 0))
        for number, _ in enumerate(whole.rounds(), start=1):
            after = flatten(device.engine.parameters())
            moved = (before.astype(np.float64) - after) / (0.05 * 3)
            buffer = 0.2 * moved if number == 1 else 0.8 * buffer + 0.2 * moved
            np.testing.assert_allclose(device.protocol.buffer, buffer, atol=1e-4)
            before = after


def test_the_momentum_moves_every_step(tmp_path: Path) -> None:
    """Without gradients worth the name, a step is -eta mu m."""
    settings = {"momentum": 0.5, "local_steps": 4, "learning_rate": 1e-6}
    with fleet(tmp_path, "d-psgd", devices=2, rounds=1, settings=settings) as whole:
        for device in whole.devices:
            assert isinstance(device.protocol, DPSGD)
            device.protocol.buffer = np.full((1, sum(v.size for v in device.engine.parameters().values())), 1e4)
        before = flatten(whole.devices[0].engine.parameters())
        for _ in whole.rounds():
            pass
        after = flatten(whole.devices[0].engine.parameters())
        np.testing.assert_allclose(after, before - 4 * 1e-6 * 0.5 * 1e4, atol=1e-3)
