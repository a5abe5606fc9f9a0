"""The mixing matrix W of a graph, and how fast it brings devices to agreement.

W_nm is the weight that device n gives to device m. Consensus tracking in D-Distillation needs a symmetric and doubly
stochastic W: only then is the mean over all devices preserved by mixing.
"""

from collections.abc import Sequence

import numpy as np

from edge.graph.topology import Topology
from edge.interfaces import Array, NodeId

Weights = dict[NodeId, dict[NodeId, float]]
"""node -> {itself and each neighbour: weight}; the weights of a node sum to 1"""


def metropolis(topology: Topology) -> Weights:
    """Compute Metropolis weights: symmetric and doubly stochastic on any graph.

    W_nm = 1 / (1 + max(d_n, d_m)) for neighbours of degrees d_n and d_m, and W_nn = 1 - sum_m W_nm
    (Xiao, Boyd, Kim 2007).

    Args:
        topology: the graph.

    Returns:
        The weights by node.
    """
    adjacent = _adjacent(topology)
    weights = {n: {m: 1 / (1 + max(len(adjacent[n]), len(adjacent[m]))) for m in adjacent[n]} for n in topology.nodes}
    return {n: {n: 1 - sum(row.values()), **row} for n, row in weights.items()}


def uniform(topology: Topology) -> Weights:
    """Compute equal weights W_nm = 1 / (1 + d_n).

    Where degrees differ they are only row-stochastic, so that mixing does not preserve the mean.

    Args:
        topology: the graph.

    Returns:
        The weights by node.
    """
    return {n: dict.fromkeys((n, *others), 1 / (1 + len(others))) for n, others in _adjacent(topology).items()}


def matrix(weights: Weights, nodes: Sequence[NodeId]) -> Array:
    """Arrange weights as the matrix W.

    Args:
        weights: by node.
        nodes: the order of rows and columns.

    Returns:
        (n, n) float64.
    """
    return np.array([[weights[a].get(b, 0.0) for b in nodes] for a in nodes])


def second_eigenvalue(W: Array) -> float:
    """Compute the second largest |eigenvalue| of W (n, n): a round leaves at most this share of the disagreement."""
    return float(np.sort(np.abs(np.linalg.eigvals(W)))[-2])


def spectral_gap(W: Array) -> float:
    """Compute 1 - the second largest |eigenvalue| of W (n, n): larger mixes faster."""
    return 1 - second_eigenvalue(W)


def _adjacent(topology: Topology) -> dict[NodeId, tuple[NodeId, ...]]:
    """Neighbours of every node, in one pass over the edges."""
    adjacent: dict[NodeId, list[NodeId]] = {n: [] for n in topology.nodes}
    for a, b in topology.edges:
        adjacent[a].append(b)
        adjacent[b].append(a)
    return {n: tuple(sorted(others)) for n, others in adjacent.items()}
