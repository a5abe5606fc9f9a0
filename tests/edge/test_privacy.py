"""What is done to soft labels before they are sent, and what that guarantees."""

import sys
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest

from edge import privacy
from edge.errors import ConfigError
from edge.interfaces import Message
from edge.privacy import NOISES
from edge_bench import cli
from edge_bench.commands.privacy import epsilon
from tests.conformance.test_codec import DIGEST, distributions
from tests.fleets import fleet

NAMES = NOISES.names()


def sample(number: int = 3, kind: str = "soft-labels", rows: int = 2000) -> Message:
    return Message(kind, number, DIGEST, distributions(rows, 5, 0))


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_is_of_the_scale_that_is_asked_for(name: str) -> None:
    drawn = NOISES.load(name).draw(0.5, (200_000,), np.random.default_rng(0))
    assert abs(drawn.mean()) < 0.01
    expected = {"gaussian": 0.5, "laplace": 0.5 * sqrt(2)}[name]
    assert drawn.std() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("name", NAMES)
def test_noisy_rows_are_distributions_other_ones_every_round_and_the_same_when_sent_twice(name: str) -> None:
    publish = privacy.publisher(f"{name}:0.1", 1.0, key=7)
    noisy = publish(sample()).values
    np.testing.assert_allclose(noisy.sum(axis=1), 1, atol=1e-5)
    assert noisy.min() >= 0
    assert np.abs(noisy - sample().values).mean() > 0.02
    np.testing.assert_array_equal(publish(sample()).values, noisy)
    assert not np.array_equal(publish(sample(4)).values, noisy)
    assert not np.array_equal(privacy.publisher(f"{name}:0.1", 1.0, key=8)(sample()).values, noisy)


@pytest.mark.parametrize("name", NAMES)
def test_no_table_moves_further_than_the_sensitivity(name: str) -> None:
    rows = 7
    p, q = np.eye(3)[np.zeros(rows, int)], np.eye(3)[np.ones(rows, int)]
    norm = np.abs(p - q).sum() if name == "laplace" else np.linalg.norm(p - q)
    assert NOISES.load(name).sensitivity(rows) == pytest.approx(norm)


def test_temperature() -> None:
    p = sample().values
    flat, sharp = (privacy.publisher(None, t, 0)(sample()).values for t in (3.0, 0.3))
    assert flat.max(axis=1).mean() < p.max(axis=1).mean() < sharp.max(axis=1).mean()
    np.testing.assert_array_equal(flat.argmax(axis=1), p.argmax(axis=1))
    twice = privacy.publisher(None, 2.0, 0)(Message("soft-labels", 1, DIGEST, np.array([[0.64, 0.36]], np.float32)))
    np.testing.assert_allclose(twice.values, [[0.8 / 1.4, 0.6 / 1.4]], rtol=1e-6)


def test_what_is_no_soft_label_stays_as_it_is() -> None:
    publish = privacy.publisher("gaussian:1", 2.0, key=1)
    weights = sample(kind="weights")
    assert publish(weights) is weights
    empty = sample(kind="class-outputs", rows=4)
    empty.values[2] = 0
    assert not publish(empty).values[2].any()
    assert privacy.publisher(None, 1.0, 0) is privacy.as_it_is


@pytest.mark.parametrize("noise", ["gaussian", "gaussian:0", "gaussian:-1", "gaussian:inf", "laplace:x", "pink:1"])
def test_noise_that_cannot_be(noise: str) -> None:
    with pytest.raises(ConfigError, match=r"with a number above 0|there are: gaussian, laplace"):
        privacy.publisher(noise, 1.0, 0)


def test_the_key_is_kept_and_nobody_elses(tmp_path: Path) -> None:
    key = privacy.secret(tmp_path / "home")
    assert privacy.secret(tmp_path / "home") == key
    assert (tmp_path / "home" / "noise.key").stat().st_mode & 0o777 == 0o600
    assert privacy.secret(None) != privacy.secret(None)
    (tmp_path / "home" / "noise.key").write_text("nonsense")
    with pytest.raises(ConfigError, match="is not the key that was written there"):
        privacy.secret(tmp_path / "home")


def test_epsilon_against_closed_forms() -> None:
    """One Laplace release has epsilon sensitivity / scale; Gaussian ones depend on rounds over scale squared."""
    assert epsilon("laplace:40", 10, 1, 1e-12) == pytest.approx(20 / 40, rel=1e-3)
    one, four = epsilon("gaussian:10", 10, 1, 1e-5), epsilon("gaussian:20", 10, 4, 1e-5)
    assert one is not None
    assert one == pytest.approx(four)
    rho = 20 / (2 * 10**2)  # zero-concentrated: what the Renyi accountant improves on
    assert rho < one <= rho + 2 * sqrt(rho * log(1e5))


def test_noise_costs_accuracy_and_keeps_the_mean(tmp_path: Path) -> None:
    """What noise adds to one is taken from another: under `mean`, the mean of z is that of the softmax outputs.

    The rule against liars draws rows towards a device's own, and so moves the mean of z.
    """
    noise = {"noise": "gaussian:0.2"}
    with fleet(tmp_path, devices=4, topology="complete", aggregation="mean", privacy=noise) as whole:
        for _ in whole.rounds():
            pass
        z = np.mean([d.protocol.z for d in whole.devices], axis=0)  # type: ignore[attr-defined]
        s = np.mean([d.protocol.s for d in whole.devices], axis=0)  # type: ignore[attr-defined]
        np.testing.assert_allclose(z, s, atol=1e-6)


def test_from_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(
        sys, "argv", ["edge-bench", "privacy", "--noise", "gaussian:10", "--rows", "10", "--rounds", "5"]
    )
    assert cli.main() == 0
    assert "gaussian:10" in (out := capsys.readouterr().out)
    assert "4.729" in out
    monkeypatch.setattr(sys, "argv", ["edge-bench", "privacy", "--delta", "2"])
    assert cli.main() == 2
    assert "a delta between 0 and 1" in capsys.readouterr().err
