"""Undirected graphs of devices; all of them connected, except islands.

The specs:

ring  complete  star  torus          shapes
random-regular:D  erdos-renyi:P      random graphs, by seed
islands:K                            complete graphs of K devices, not connected to one another
FILE                                 a line "a b" per edge
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isqrt
from pathlib import Path

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import NodeId

Pairs = Iterable[tuple[int, int]]
TRIES = 1000
"""How many random graphs are drawn before giving up on a simple and connected one."""


@dataclass(frozen=True)
class Topology:
    """An undirected graph.

    Attributes:
        nodes: the devices.
        edges: each once, sorted, with its smaller end first.
    """

    nodes: tuple[NodeId, ...]
    edges: tuple[tuple[NodeId, NodeId], ...]

    def neighbours(self, node: NodeId) -> tuple[NodeId, ...]:
        """Return the neighbours of `node`, sorted."""
        return tuple(sorted(b if a == node else a for a, b in self.edges if node in (a, b)))


def build(spec: str, nodes: Sequence[NodeId], seed: int) -> Topology:
    """Build a graph.

    Args:
        spec: a shape, a random graph with its argument, or a file; see the module.
        nodes: the devices; at least two.
        seed: of random graphs.

    Returns:
        The graph.

    Raises:
        ConfigError: unknown, impossible for so many nodes, or not connected (names two nodes).
    """
    n = len(nodes)
    if n < 2 or len(set(nodes)) < n:
        raise ConfigError(f"a topology needs at least two different devices, got {n}")
    name, _, argument = spec.partition(":")
    if name in _SHAPES:
        if argument:
            raise ConfigError(f"topology '{spec}': {name} takes no argument")
        pairs: Pairs = _SHAPES[name](n)
    elif name == "islands":
        return _islands(spec, argument, nodes)
    elif name in _RANDOM:
        pairs = _drawn(spec, _RANDOM[name], n, argument, np.random.default_rng([seed, n]))
    elif Path(spec).is_file():
        pairs = _from_file(Path(spec), nodes)
    else:
        known = [*_SHAPES, "islands:...", *(f"{r}:..." for r in _RANDOM)]
        raise ConfigError(f"topology '{spec}' is neither a file nor one of: {', '.join(known)}")
    edges = sorted({(min(a, b), max(a, b)) for a, b in pairs if a != b})
    if cut := _unreached(n, edges):
        raise ConfigError(f"topology '{spec}' is not connected: {nodes[0]} cannot reach {nodes[cut]}")
    return Topology(tuple(nodes), tuple((nodes[a], nodes[b]) for a, b in edges))


def _islands(spec: str, argument: str, nodes: Sequence[NodeId]) -> Topology:
    """Complete graphs of K devices each: the one graph that is meant to be disconnected."""
    k = int(argument) if argument.isdecimal() else 0
    if not 2 <= k <= len(nodes) or len(nodes) % k:
        raise ConfigError(f"topology '{spec}': expected islands:K with K at least 2 and a divisor of {len(nodes)}")
    groups = [nodes[at : at + k] for at in range(0, len(nodes), k)]
    return Topology(tuple(nodes), tuple(sorted(pair for group in groups for pair in combinations(sorted(group), 2))))


def _ring(n: int) -> Pairs:
    return [(i, (i + 1) % n) for i in range(n)]


def _complete(n: int) -> Pairs:
    return combinations(range(n), 2)


def _star(n: int) -> Pairs:
    return [(0, i) for i in range(1, n)]


def _torus(n: int) -> Pairs:
    """The r x c grid closest to a square, with its borders joined."""
    r = next((r for r in range(isqrt(n), 1, -1) if n % r == 0), 0)
    if not r:
        raise ConfigError(f"{n} devices make no torus of at least 2 x 2; take 4, 6, 8, 9, 10, 12, ... or a ring")
    c = n // r
    at = [(i, j) for i in range(r) for j in range(c)]
    down = [(i * c + j, (i + 1) % r * c + j) for i, j in at]
    return down + [(i * c + j, i * c + (j + 1) % c) for i, j in at]


def _regular(n: int, argument: str, random: np.random.Generator) -> list[tuple[int, int]] | None:
    """Configuration model: pair stubs at random; stubs that would make a loop or a double edge are shuffled again.

    Returns None where the remaining stubs cannot make a simple graph any more.
    """
    degree = int(argument)
    if not 2 <= degree < n or degree * n % 2:
        raise ConfigError(
            f"random-regular:{argument} is impossible for {n} devices: the degree must be 2 to {n - 1}, "
            "and degree times devices even"
        )
    edges: set[tuple[int, int]] = set()
    stubs = np.repeat(np.arange(n), degree)
    while len(stubs):
        random.shuffle(stubs)
        left = []
        for a, b in stubs.reshape(-1, 2).tolist():
            edge = (min(a, b), max(a, b))
            if a == b or edge in edges:
                left += [a, b]
            else:
                edges.add(edge)
        if len(left) == len(stubs) and all((min(a, b), max(a, b)) in edges for a, b in combinations(set(left), 2)):
            return None
        stubs = np.array(left, np.int64)
    return list(edges)


def _erdos_renyi(n: int, argument: str, random: np.random.Generator) -> list[tuple[int, int]] | None:
    probability = float(argument)
    if not 0 < probability <= 1:
        raise ConfigError(f"erdos-renyi:{argument}: the probability of an edge must be above 0 and at most 1")
    pairs = np.array(list(combinations(range(n), 2)))
    return [(int(a), int(b)) for a, b in pairs[random.random(len(pairs)) < probability]]


def _drawn(
    spec: str,
    draw: Callable[[int, str, np.random.Generator], list[tuple[int, int]] | None],
    n: int,
    argument: str,
    random: np.random.Generator,
) -> Pairs:
    """Draw until the graph is connected."""
    for _ in range(TRIES):
        try:
            pairs = draw(n, argument, random)
        except ValueError:
            raise ConfigError(f"topology '{spec}' needs a number after the colon") from None
        if pairs is not None and not _unreached(n, pairs):
            return pairs
    raise ConfigError(
        f"topology '{spec}': none of {TRIES} drawn graphs of {n} devices was connected; ask for more edges"
    )


def _from_file(path: Path, nodes: Sequence[NodeId]) -> Pairs:
    number = {name: i for i, name in enumerate(nodes)}
    pairs = []
    for line, text in enumerate(path.read_text().splitlines(), start=1):
        ends = text.partition("#")[0].split()
        if not ends:
            continue
        if len(ends) != 2 or not set(ends) <= number.keys():
            raise ConfigError(f"{path}:{line}: expected two of the devices {nodes[0]} ... {nodes[-1]}, got '{text}'")
        pairs.append((number[ends[0]], number[ends[1]]))
    return pairs


def _unreached(n: int, edges: Pairs) -> int:
    """A node that node 0 cannot reach; 0 if there is none."""
    adjacent: list[list[int]] = [[] for _ in range(n)]
    for a, b in edges:
        adjacent[a].append(b)
        adjacent[b].append(a)
    seen, frontier = {0}, [0]
    while frontier:
        for other in adjacent[frontier.pop()]:
            if other not in seen:
                seen.add(other)
                frontier.append(other)
    return next((i for i in range(n) if i not in seen), 0)


_SHAPES: dict[str, Callable[[int], Pairs]] = {
    "ring": _ring,
    "complete": _complete,
    "star": _star,
    "torus": _torus,
}
_RANDOM = {"random-regular": _regular, "erdos-renyi": _erdos_renyi}
