"""Graphs and mixing weights."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.errors import ConfigError
from edge.graph import mixing, topology
from edge.interfaces import Array

SPECS = ["ring", "complete", "star", "torus", "random-regular:3", "erdos-renyi:0.5"]


def names(n: int) -> list[str]:
    return [f"n{i:03d}" for i in range(n)]


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("n", [4, 6, 8, 12, 30])
def test_graphs_are_simple_connected_and_seeded(spec: str, n: int) -> None:
    graph = topology.build(spec, names(n), seed=1)
    assert len(set(graph.edges)) == len(graph.edges)
    assert all(a < b for a, b in graph.edges)
    seen, frontier = {names(n)[0]}, [names(n)[0]]
    while frontier:
        for other in graph.neighbours(frontier.pop()):
            if other not in seen:
                seen.add(other)
                frontier.append(other)
    assert seen == set(names(n))
    assert topology.build(spec, names(n), seed=1) == graph


@pytest.mark.parametrize(
    ("spec", "n", "degrees"),
    [
        ("ring", 5, {2}),
        ("ring", 2, {1}),
        ("complete", 5, {4}),
        ("star", 5, {1, 4}),
        ("torus", 9, {4}),
        ("torus", 4, {2}),
        ("torus", 8, {3}),
        ("random-regular:3", 10, {3}),
        ("random-regular:5", 6, {5}),
        ("random-regular:4", 50, {4}),
    ],
)
def test_degrees(spec: str, n: int, degrees: set[int]) -> None:
    graph = topology.build(spec, names(n), seed=0)
    assert {len(graph.neighbours(a)) for a in graph.nodes} == degrees


def test_random_graphs_differ_by_seed() -> None:
    assert topology.build("random-regular:3", names(12), 0) != topology.build("random-regular:3", names(12), 1)


@pytest.mark.parametrize(
    ("spec", "n", "complaint"),
    [
        ("moebius", 4, "neither a file nor one of: ring, complete, star, torus, islands:..., random-regular"),
        ("ring", 1, "at least two"),
        ("ring:3", 4, "takes no argument"),
        ("torus", 7, "7 devices make no torus"),
        ("random-regular:3", 5, "even"),
        ("random-regular:9", 8, "impossible for 8 devices"),
        ("random-regular:x", 8, "needs a number"),
        ("erdos-renyi:0", 8, "above 0"),
        ("erdos-renyi:0.001", 40, "none of 1000 drawn graphs"),
    ],
)
def test_impossible(spec: str, n: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        topology.build(spec, names(n), seed=0)


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "edges.txt"
    path.write_text("# a line of four\nn000 n001\n\nn001 n002   # comment\nn003 n002\nn002 n003\n")
    graph = topology.build(str(path), names(4), seed=0)
    assert graph.edges == (("n000", "n001"), ("n001", "n002"), ("n002", "n003"))
    path.write_text("n000 n001\nn002 n003\n")
    with pytest.raises(ConfigError, match="not connected: n000 cannot reach n002"):
        topology.build(str(path), names(4), seed=0)
    path.write_text("n000 n001\nn001 n009\n")
    with pytest.raises(ConfigError, match=r"edges\.txt:2: expected two of the devices"):
        topology.build(str(path), names(4), seed=0)


@given(st.sampled_from(SPECS), st.sampled_from([4, 6, 8, 10, 16]), st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_metropolis_is_symmetric_and_doubly_stochastic(spec: str, n: int, seed: int) -> None:
    graph = topology.build(spec, names(n), seed)
    W = mixing.matrix(mixing.metropolis(graph), graph.nodes)
    np.testing.assert_allclose(W, W.T, atol=1e-15)
    np.testing.assert_allclose(W.sum(axis=0), 1, atol=1e-12)
    assert W.min() >= 0
    assert 0 <= mixing.second_eigenvalue(W) < 1


def test_known_spectra() -> None:
    def eigenvalue(spec: str, n: int) -> float:
        graph = topology.build(spec, names(n), 0)
        return mixing.second_eigenvalue(mixing.matrix(mixing.metropolis(graph), graph.nodes))

    assert eigenvalue("complete", 5) == pytest.approx(0, abs=1e-12)
    assert eigenvalue("ring", 8) == pytest.approx((1 + 2 * np.cos(2 * np.pi / 8)) / 3)


def test_uniform_weights_sum_to_one_by_row() -> None:
    graph = topology.build("star", names(5), 0)
    W: Array = mixing.matrix(mixing.uniform(graph), graph.nodes)
    np.testing.assert_allclose(W.sum(axis=1), 1)
    assert not np.allclose(W.sum(axis=0), 1)


def test_islands_are_complete_and_apart() -> None:
    islands = topology.build("islands:3", [f"n{i}" for i in range(9)], 0)
    assert len(islands.edges) == 3 * 3
    assert islands.neighbours("n4") == ("n3", "n5")
    assert mixing.second_eigenvalue(mixing.matrix(mixing.metropolis(islands), islands.nodes)) == pytest.approx(1)


@pytest.mark.parametrize("spec", ["islands", "islands:1", "islands:4", "islands:x", "islands:10"])
def test_impossible_islands(spec: str) -> None:
    with pytest.raises(ConfigError, match="expected islands:K with K at least 2 and a divisor of 9"):
        topology.build(spec, [f"n{i}" for i in range(9)], 0)
