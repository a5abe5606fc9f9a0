"""Aggregation rules: what every one promises, and what each is for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import robust
from edge.errors import ConfigError
from edge.interfaces import Floats
from edge.robust import AGGREGATIONS
from edge.weighting import statement
from edge_sim import attacks
from tests.conformance.test_codec import distributions

RULES = AGGREGATIONS.names()


def opinions(count: int, seed: int = 0, classes: int = 5) -> dict[str, Floats]:
    """Of devices that nearly agree."""
    random = np.random.default_rng(seed)
    logits = 4 * random.standard_normal((30, classes))
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
        ("krum", "unknown aggregation rule 'krum'; there are: agreement, mean, median, similarity, trimmed-mean"),
        ("agreement:2", "agreement takes no argument"),
        ("median:2", "median takes no argument"),
        ("mean:2", "mean takes no argument"),
        ("trimmed-mean:0.5", "expected trimmed-mean:X with X from 0 to less than 0.5"),
        ("similarity:x", "expected similarity:X with X from 0 to less than 1"),
    ],
)
def test_rules_that_cannot_be(spec: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        robust.load(spec)


def weighted(count: int, seed: int = 0, classes: int = 5) -> dict[str, Floats]:
    """The same, each surer of some rows than of others: (w p, 1 - w)."""
    random = np.random.default_rng(seed)
    tables = opinions(count, seed, classes)
    return {j: statement(p, random.uniform(0.2, 1, (len(p), 1))).astype(np.float32) for j, p in tables.items()}


@pytest.mark.parametrize("abstention", [False, True])
@given(count=st.integers(2, 9), seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_agreement_on_what_all_say_alike_is_the_mean(abstention: bool, count: int, seed: int) -> None:
    table = (weighted if abstention else opinions)(1, seed)["d0"]
    tables = {f"d{i}": table for i in range(count)}
    for own in (None, table):
        for kept in robust.load("agreement", 5)(tables, own).values():
            np.testing.assert_allclose(kept, table, atol=1e-6)


@given(seed=st.integers(0, 10**6), scale=st.floats(0, 100), trusted=st.booleans())
@settings(max_examples=50, deadline=None)
def test_agreement_bounds_what_one_neighbour_changes(seed: int, scale: float, trusted: bool) -> None:
    """Whatever it sends, no row comes to be further from ours than two distributions can be."""
    tables = weighted(4, seed)
    own = tables.pop("d3")
    wild = scale * np.random.default_rng(seed).standard_normal(own.shape)
    tables["d0"] = (wild + (1 - wild.sum(axis=1, keepdims=True)) / 6 if not trusted else own + wild).astype(np.float32)
    kept = robust.load("agreement", 5)(tables, own)
    assert np.abs(kept["d0"] - own).sum(axis=1).max() <= 2 + 1e-4
    for honest in ("d1", "d2"):
        np.testing.assert_allclose(kept[honest].sum(axis=1), 1, atol=1e-4)


@pytest.mark.parametrize("attack", ["label-flip", "random", "extreme"])
def test_agreement_hears_next_to_nothing_of_a_liar_of_two_neighbours(attack: str) -> None:
    """A liar that is sure of everything, beside one honest neighbour: it moves us a hundredth of what it says."""
    tables = weighted(3, classes=6)
    own, honest = tables.pop("d2"), tables["d1"]
    tables["d0"] = attacks.load(attack).attack(tables["d0"], occasion(6))
    kept = robust.load("agreement", 6)(tables, own)
    assert np.abs(kept["d0"] - own).sum() < 0.02 * np.abs(tables["d0"] - own).sum()
    assert np.abs(kept["d1"] - own).sum() > 0.8 * np.abs(honest - own).sum()


def test_agreement_about_one_class() -> None:
    """Who lies about class 3 is doubted in rows of class 3, by those who know it, and believed elsewhere."""
    truth = np.repeat(np.arange(6), 10)
    said = (0.9 * np.eye(6)[truth] + 0.1 / 6).astype(np.float32)
    lie = attacks.load("targeted").attack(said, occasion(6))
    kept = robust.load("agreement", 6)({"a": said, "b": said, "liar": lie}, said)
    moved = np.abs(kept["liar"] - said).sum(axis=1)
    assert moved[truth == 3].max() < 0.1 * np.abs(lie - said).sum(axis=1).max()
    np.testing.assert_allclose(moved[truth != 3], 0, atol=1e-6)


def test_agreement_by_hand() -> None:
    """Two classes, two rows, all sure: b agrees with us, and a, which says the opposite, does not at all."""
    own = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    tables = {"a": own[::-1].copy(), "b": own}
    assert {j: t.tolist() for j, t in robust.load("agreement", 2)(tables, own).items()} == {
        "a": own.tolist(),
        "b": own.tolist(),
    }
    half = np.array([[0.5, 0.5, 0], [0, 1, 0]], np.float32)
    # b is half right about the first row, and a not at all: b and we agree best, and whoever agrees best is believed.
    assert robust.load("agreement", 2)({"a": own[::-1].copy(), "b": half}, own)["b"].tolist() == half.tolist()


def test_many_neighbours_are_judged_by_some() -> None:
    tables = weighted(60, classes=6)
    own = tables.pop("d59")
    lie = attacks.load("label-flip").attack(tables["d7"], occasion(6))
    kept = robust.load("agreement", 6)({**tables, "d7": lie}, own)
    assert np.abs(kept["d7"] - own).sum() < 0.02 * np.abs(lie - own).sum()


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
