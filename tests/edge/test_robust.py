"""Aggregation rules: what every one promises, and what each is for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import robust
from edge.errors import ConfigError
from edge.interfaces import Floats
from edge.robust import AGGREGATIONS
from edge_sim import attacks
from tests.conformance.test_codec import distributions

RULES = AGGREGATIONS.names()


def opinions(count: int, seed: int = 0) -> dict[str, Floats]:
    """Of devices that nearly agree."""
    random = np.random.default_rng(seed)
    logits = 4 * random.standard_normal((30, 5))
    tables = {}
    for i in range(count):
        p = np.exp(logits + 0.3 * random.standard_normal(logits.shape))
        tables[f"d{i}"] = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    return tables


def occasion(classes: int, number: int = 20) -> attacks.Occasion:
    return attacks.Occasion(classes=classes, number=number, random=np.random.default_rng(0))


@pytest.mark.parametrize("name", RULES)
@given(count=st.integers(0, 9), rows=st.integers(1, 20), columns=st.integers(2, 8), seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_distributions_stay_distributions(name: str, count: int, rows: int, columns: int, seed: int) -> None:
    tables = {f"d{i}": distributions(rows, columns, seed + i) for i in range(count)}
    for own in (None, distributions(rows, columns, seed - 1 if seed else 1)):
        aggregated = robust.load(name)(tables, own)
        assert set(aggregated) <= set(tables)
        assert bool(aggregated) == bool(tables)  # somebody is always aggregated
        for table in aggregated.values():
            assert table.dtype == np.float32
            np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
            assert table.min() >= 0


@pytest.mark.parametrize("name", RULES)
def test_what_is_about_nothing_counts_for_nothing(name: str) -> None:
    tables = opinions(5)
    tables["d1"][3] = 0
    for other in ("d0", "d2", "d3", "d4"):
        tables[other][7] = 0
    aggregated = robust.load(name)(tables, None)
    for sender, table in aggregated.items():
        np.testing.assert_array_equal(table.any(axis=1), tables[sender].any(axis=1))
    np.testing.assert_allclose(aggregated["d1"][7], tables["d1"][7], atol=1e-6)


@pytest.mark.parametrize("name", RULES)
def test_estimates_outside_the_simplex_are_taken(name: str) -> None:
    """D-Distillation's z may leave it for a while; its rows still sum to 1."""
    base = np.array([[1.2, -0.1, -0.1], [0.5, 0.6, -0.1]], np.float32)
    tables = {f"d{i}": base + np.float32(0.01 * i) * np.array([1, -1, 0], np.float32) for i in range(5)}
    for table in robust.load(name)(tables, base).values():
        np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(table, base, atol=0.05)


@pytest.mark.parametrize("name", sorted(set(RULES) - {"mean"}))
@pytest.mark.parametrize("attack", sorted(set(attacks.ATTACKS.names()) - {"targeted"}))  # which moves no mean far
def test_one_in_four_attacks(name: str, attack: str) -> None:
    """The aggregate is as near to what honest devices send as they are to one another; a mean is not."""
    tables, own = opinions(8), opinions(9)["d8"]
    honest = np.mean([tables[f"d{i}"] for i in range(2, 8)], axis=0)
    for attacker in ("d0", "d1"):
        tables[attacker] = attacks.load(attack).attack(tables[attacker], occasion(5))

    def error(rule: str) -> float:
        aggregated = robust.load(rule)(tables, own)
        return float(np.abs(np.mean(list(aggregated.values()), axis=0) - honest).mean())

    assert error(name) < 0.03
    assert error("mean") > 0.05
    if name == "similarity":
        assert set(robust.load(name)(tables, own)) == {f"d{i}" for i in range(2, 8)}


def test_median_and_trimmed_mean_by_hand() -> None:
    tables = {f"d{i}": np.array([[v, 1 - v]], np.float32) for i, v in enumerate((0.1, 0.2, 0.4, 0.9))}
    own = np.array([[0.3, 0.7]], np.float32)
    np.testing.assert_allclose(robust.load("median")(tables, own)["d0"], [[0.3, 0.7]], atol=1e-6)
    np.testing.assert_allclose(robust.load("median")(tables, None)["d3"], [[0.3, 0.7]], atol=1e-6)
    np.testing.assert_allclose(robust.load("trimmed-mean:0.2")(tables, own)["d0"], [[0.3, 0.7]], atol=1e-6)
    np.testing.assert_allclose(robust.load("trimmed-mean:0")(tables, own)["d0"], [[0.38, 0.62]], atol=1e-6)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("krum", "unknown aggregation rule 'krum'; there are: mean, median, similarity, trimmed-mean"),
        ("median:2", "median takes no argument"),
        ("mean:2", "mean takes no argument"),
        ("trimmed-mean:0.5", "expected trimmed-mean:X with X from 0 to less than 0.5"),
        ("similarity:x", "expected similarity:X with X from 0 to less than 1"),
    ],
)
def test_rules_that_cannot_be(spec: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        robust.load(spec)


def test_attacks_by_hand() -> None:
    """Weighted opinions, of which a liar is sure; a row about nothing stays one."""
    said = np.array([[0.0, 0.0, 0.0, 0.25, 0.25, 0.0, 0.5], [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.5], [0.0] * 7], np.float32)

    def lies(name: str, number: int = 1) -> list[list[float]]:
        rows: list[list[float]] = attacks.load(name).attack(said, occasion(6, number)).tolist()
        return rows

    nothing = [0.0] * 7
    assert lies("label-flip") == [[0, 0.5, 0.5, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0], nothing]
    assert lies("targeted") == [[0, 0, 0, 0, 0, 1, 0], said[1].tolist(), nothing]
    assert lies("extreme") == [[3, 0, 0, -2, 0, 0, 0], [3, -2, 0, 0, 0, 0, 0], nothing]
    assert lies("drift", 10)[1] == [0, 0.25, 0, 0, 0.5, 0, 0.25]
    assert lies("drift", 30) == lies("label-flip")
    for row in lies("random"):
        assert row[6] == 0
        assert sum(row) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("spec", ["label-flip", "label-flip:0", "label-flip:x", "arson:2"])
def test_attacks_that_cannot_be(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"expected label-flip:N|there are: drift, extreme, label-flip, "):
        attacks.parse(spec)
