"""Weightings: how much an opinion counts, and what the consensus of weighted opinions is."""

import numpy as np
import pytest

from edge import weighting
from edge.errors import ConfigError
from edge.interfaces import Array
from edge.protocols._consensus import distilled
from edge.weighting import Opinion, nothing

NAMES = weighting.WEIGHTINGS.names()
K, R = 5, 40


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


def opinion(p: Array, reference: Array, private: Array) -> Opinion:
    return Opinion(p, lambda: reference, lambda: private)


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_between_0_and_1_whatever_the_outputs(name: str, random: np.random.Generator) -> None:
    p = random.dirichlet(np.full(K, 0.2), R)
    p[0], p[1], p[2] = np.eye(K)[0], 1 / K, np.eye(K)[1] * 1.0000001
    samples = random.standard_normal((R, 2, 3))
    for private in (samples[:7], samples[:1], np.repeat(samples[:1], 4, axis=0)):
        w = weighting.load(name).weigh(opinion(p.astype(np.float32), samples, private))
        assert w.shape == (R, 1)
        assert w.dtype == np.float64
        assert ((w >= 0) & (w <= 1)).all()
        np.testing.assert_allclose(weighting.statement(p, w).sum(axis=1), p.sum(axis=1) * w[:, 0] + 1 - w[:, 0])


@pytest.mark.parametrize("name", ["entropy", "largest", "margin"])
def test_who_is_surer_counts_more(name: str) -> None:
    p = np.array([[1 / K] * K, [0.4, 0.15, 0.15, 0.15, 0.15], [0.8, 0.05, 0.05, 0.05, 0.05], np.eye(K)[0]])
    w = weighting.load(name).weigh(Opinion(p, nothing, nothing))[:, 0]
    assert (np.diff(w) > 0).all()
    assert w[-1] == pytest.approx(1, abs=1e-6)


def test_what_is_like_the_own_samples_is_familiar(random: np.random.Generator) -> None:
    private = random.standard_normal((300, 4))
    reference = np.concatenate([private[:10] + 1e-3, random.standard_normal((10, 4)), 50 + private[:10]])
    w = weighting.load("familiarity").weigh(opinion(np.full((30, 2), 0.5), reference, private))[:, 0]
    assert w[:10].min() > 0.99
    assert 0.05 < np.median(w[10:20]) < 0.95
    assert w[20:].max() < 1e-9


def test_the_target_is_the_weighted_mean_and_the_loss_the_weight_behind_it(random: np.random.Generator) -> None:
    p, w = random.dirichlet(np.ones(K), (6, R)), random.random((6, R, 1))
    rows = np.mean([weighting.statement(*pair) for pair in zip(p, w, strict=True)], axis=0)
    mean = (w * p).sum(axis=0) / w.sum(axis=0)
    np.testing.assert_allclose(weighting.target(rows, K), mean, atol=1e-12)
    shares = w.mean(axis=0) / w.mean()
    np.testing.assert_allclose(distilled(rows, K), shares * mean, atol=1e-12)


def test_of_nobody_s_opinion_nothing_is_distilled() -> None:
    rows = np.zeros((3, K + 1))
    rows[:, K] = 1
    assert not distilled(rows, K).any()
    np.testing.assert_array_equal(weighting.target(rows, K), np.full((3, K), 1 / K))


def test_estimates_below_0_are_clipped() -> None:
    rows = np.array([[-0.5, 0.2, 0.6, 0.7]])
    np.testing.assert_allclose(weighting.target(rows, 3), [[0, 0.25, 0.75]])
    np.testing.assert_allclose(distilled(rows, 3), [[0, 0.25, 0.75]])
    np.testing.assert_array_equal(weighting.target(rows, 4), rows)  # the paper's own, which may leave the simplex


def test_an_unknown_weighting_is_refused() -> None:
    with pytest.raises(ValueError, match="weighting must be one of: none, entropy"):
        weighting.check("loudest")
    with pytest.raises(ConfigError, match="unknown weighting 'loudest'"):
        weighting.load("loudest")
