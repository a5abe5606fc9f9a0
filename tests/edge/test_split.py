"""Dividing rows among devices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.split import divide


def labels(n: int = 400, classes: int = 10, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, classes, n)


def columns(n: int = 400) -> dict[str, Array]:
    return {"user": np.arange(n) % 7, "room": np.array(["attic", "cellar"])[np.arange(n) % 2]}


@given(
    st.sampled_from(["iid", "classes:1", "classes:4", "classes:10", "dirichlet:0.1", "dirichlet:100", "primary:3:9"]),
    st.integers(10, 16),
    st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_shares_are_disjoint_whole_and_seeded(spec: str, devices: int, seed: int) -> None:
    y = labels()
    shares = divide(spec, y, {}, devices, seed)
    assert len(shares) == devices
    assert all(len(share) for share in shares)
    np.testing.assert_array_equal(np.sort(np.concatenate(shares)), np.arange(len(y)))
    for a, b in zip(shares, divide(spec, y, {}, devices, seed), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("k", "devices"), [(4, 8), (1, 10), (3, 7), (10, 2), (5, 2)])
def test_every_device_holds_exactly_k_classes(k: int, devices: int) -> None:
    y = labels()
    held = [set(y[share].tolist()) for share in divide(f"classes:{k}", y, {}, devices, 3)]
    assert {len(h) for h in held} == {k}
    holders = [sum(c in h for h in held) for c in range(10)]
    assert max(holders) - min(holders) <= 1
    assert min(holders) >= 1


def test_dirichlet_skews() -> None:
    def skew(a: float) -> float:
        y = labels(4000)
        counts = np.array([np.bincount(y[s], minlength=10) for s in divide(f"dirichlet:{a}", y, {}, 10, 0)])
        return float((counts / counts.sum(axis=1, keepdims=True)).max(axis=1).mean())

    assert skew(0.1) > 0.4 > 0.2 > skew(100)


def test_by_column() -> None:
    shares = divide("by:user", labels(), columns(), 7, 0)
    assert [set(columns()["user"][s].tolist()) for s in shares] == [{i} for i in range(7)]
    groups = divide("by:user", labels(), columns(), 3, 0)
    assert sorted(len(set(columns()["user"][s].tolist())) for s in groups) == [2, 2, 3]
    assert len(divide("by:room", labels(), columns(), 2, 0)) == 2


@pytest.mark.parametrize(
    ("spec", "devices", "complaint"),
    [
        ("evenly", 4, "unknown split 'evenly'; there are: by, classes, dirichlet, iid"),
        ("iid:3", 4, "takes no argument"),
        ("classes:0", 4, "positive number"),
        ("classes:x", 4, "positive number"),
        ("classes:11", 4, "only 10 classes"),
        ("classes:2", 4, "cannot cover 10 classes"),
        ("dirichlet:-1", 4, "positive number"),
        ("by:house", 4, "no such column; it has: user, room"),
        ("by:user", 8, "7 values are too few for 8 devices"),
        ("iid", 401, "400 rows are too few for 401 devices"),
    ],
)
def test_impossible(spec: str, devices: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        divide(spec, labels(), columns(), devices, 0)


def test_primary_labels_are_as_much_more_likely_as_said() -> None:
    """With a skew of S, a device to which a label is primary gets 1 + S times as many of its rows as another."""
    y = labels(40_000)
    shares = divide("primary:3:9", y, {}, 8, 1)
    counts = np.array([np.bincount(y[share], minlength=10) for share in shares]).astype(float)
    high = counts > 3 * counts.min(axis=0)
    assert (high.sum(axis=1) <= 3).all()
    for label in np.flatnonzero(high.any(axis=0)):
        ratio = counts[high[:, label], label].mean() / counts[~high[:, label], label].mean()
        assert ratio == pytest.approx(10, rel=0.15)
    flat = np.array([np.bincount(y[s], minlength=10) for s in divide("primary:3:0", y, {}, 8, 1)])
    assert flat.std() < 0.1 * flat.mean()
    steep = np.array([np.bincount(y[s], minlength=10) for s in divide("primary:3:1000", y, {}, 8, 1)])
    assert (np.sort(steep, axis=1)[:, :7].sum(axis=1) < 0.25 * steep.sum(axis=1)).mean() > 0.5


@pytest.mark.parametrize(("k", "n", "size"), [(3, 1, 40), (1, 0, 20), (9, 2, 30)])
def test_lacking_labels_are_cut(k: int, n: int, size: int) -> None:
    y = labels(1000)
    shares = divide(f"lacking:{k}:{n}:{size}", y, {}, 10, 2)
    assert len(np.unique(np.concatenate(shares))) == sum(map(len, shares))
    for share in shares:
        counts = np.bincount(y[share], minlength=10)
        assert (counts <= n).sum() >= k
        assert len(share) <= size
    again = divide(f"lacking:{k}:{n}:{size}", y, {}, 10, 2)
    assert all(np.array_equal(a, b) for a, b in zip(shares, again, strict=True))


@pytest.mark.parametrize(
    "spec",
    ["primary", "primary:3", "primary:11:1", "primary:2:-1", "primary:2:x", "lacking:10:1:5", "lacking:3:1:9999"],
)
def test_impossible_skews(spec: str) -> None:
    with pytest.raises(ConfigError, match=spec.split(":")[0]):
        divide(spec, labels(), {}, 8, 0)
