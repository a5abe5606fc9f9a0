"""How much a device listens to each neighbour: the mixing matrix W, and how fast it mixes.

W_nm is the weight n gives to m. D-Distillation's tracking needs it symmetric and doubly stochastic.
"""

from collections.abc import Sequence

import numpy as np

from edge.graph.topology import Topology
from edge.interfaces import Array, NodeId

Weights = dict[NodeId, dict[NodeId, float]]
"""node -> {itself and each neighbour: weight}; every row sums to 1"""


def metropolis(topology: Topology) -> Weights:
    """W_nm = 1 / (1 + max(d_n, d_m)), the rest to oneself: symmetric and doubly stochastic on any graph."""
    around = _around(topology)
    weights = {n: {m: 1 / (1 + max(len(around[n]), len(around[m]))) for m in around[n]} for n in topology.nodes}
    return {n: {n: 1 - sum(row.values()), **row} for n, row in weights.items()}


def uniform(topology: Topology) -> Weights:
    """W_nm = 1 / (1 + d_n): equal parts. Only row-stochastic where degrees differ, so the mean is not kept."""
    return {n: dict.fromkeys((n, *others), 1 / (1 + len(others))) for n, others in _around(topology).items()}


def matrix(weights: Weights, nodes: Sequence[NodeId]) -> Array:
    """(n, n) float64, in the order of `nodes`."""
    return np.array([[weights[a].get(b, 0.0) for b in nodes] for a in nodes])


def second_eigenvalue(W: Array) -> float:
    """The second largest |eigenvalue|: what a round leaves of the disagreement, at the worst."""
    return float(np.sort(np.abs(np.linalg.eigvals(W)))[-2])


def spectral_gap(W: Array) -> float:
    """1 - the second largest |eigenvalue|."""
    return 1 - second_eigenvalue(W)


def _around(topology: Topology) -> dict[NodeId, tuple[NodeId, ...]]:
    around: dict[NodeId, list[NodeId]] = {n: [] for n in topology.nodes}
    for a, b in topology.edges:
        around[a].append(b)
        around[b].append(a)
    return {n: tuple(sorted(others)) for n, others in around.items()}
