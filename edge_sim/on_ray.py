"""The nodes of an emulation spread over a Ray cluster: a shard in each actor, and the clock here.

    engine = "ray"          ONNX Runtime in the actors; "ray:tflite" another engine
    workers = 4             how many actors; the processors of the cluster, if 1

A turn depends on nothing but its node's past and what has arrived for it, so results are those of one process, bit by
bit, wherever turns are had. An actor that dies is replaced: each of its nodes is put back as it was `EVERY` rounds ago
at the most, and has the turns since then again. The cluster is RAY_ADDRESS's; without it one is started here.
"""

import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edge import bundle, plugins
from edge.errors import ConfigError, MurmurError
from edge.interfaces import Delivery, NodeId, Traffic
from edge.node import Row
from edge_sim.evaluation import Evaluation
from edge_sim.fleet import Maker
from edge_sim.shard import Shard
from edge_sim.turns import TurnRequest, TurnResult
from edge_sim.world import Bundles, World

EVERY = 10
"""Rounds of a node after which it is kept anew: so many have to be done again if its actor dies."""
LIVES = 3
"""Actors that may die over one call before the emulation gives up."""


@dataclass
class Remote:
    """What is known here of a node that is elsewhere; see `edge_sim.rounds.Node`."""

    id: NodeId
    role: str
    classes: tuple[int, ...]
    samples: int
    honest: bool
    row: Row = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    counts: Mapping[str, int] = field(default_factory=dict)


Told = dict[int, tuple[Row, Traffic, Mapping[str, int]]]
"""by number: what is to be known of a node now"""


class Host:
    """An actor: a shard, and what is told of its nodes."""

    def __init__(
        self, world: World, protocol: str, files: Sequence[Any], fleet: str, settings: Mapping[str, Any]
    ) -> None:
        for path in settings["plugins"]:
            plugins.add_file(path)
        self._folder = tempfile.TemporaryDirectory(prefix="murmur-")
        bundles = _unpacked(world, Path(self._folder.name), files)
        make = Maker(world, world.scenario.algorithm(protocol), bundles, settings["farewell"])
        self._shard = Shard(make, fleet, 1, settings["keeps"], settings["boards"])

    def nodes(self, indices: Sequence[int]) -> list[Remote]:
        """Make them."""
        found = [self._shard.device(i) for i in indices]
        return [Remote(d.id, d.role, d.classes, d.samples, d.honest, d.row, d.traffic, d.counts) for d in found]

    def turns(
        self, requests: Sequence[TurnRequest], kept: Sequence[int]
    ) -> tuple[list[TurnResult], Told, dict[int, bytes]]:
        """See `Shard.turns`; with what is told of the nodes now, and snapshots of those in `kept` before their turn."""
        snapshots = {i: self._shard.snapshot(i) for i in kept}
        outcomes = self._shard.turns(requests)
        return outcomes, self._told([request.index for request in requests]), snapshots

    def evaluate(self, indices: Sequence[int]) -> list[Evaluation]:
        """See `Shard.evaluate`."""
        return self._shard.evaluate(indices)

    def revive(self, index: int, finished: bool) -> None:
        """See `Shard.revive`."""
        self._shard.revive(index, finished)

    def restore(self, index: int, snapshot: bytes) -> None:
        """See `Shard.restore`."""
        self._shard.restore(index, snapshot)

    def conclude(self, unread: Mapping[int, Sequence[Delivery]]) -> Told:
        """See `Shard.conclude`."""
        self._shard.conclude(unread)
        return self._told(list(unread))

    def _told(self, indices: Sequence[int]) -> Told:
        devices = {i: self._shard.device(i) for i in indices}
        return {i: (d.row, replace(d.traffic), dict(d.counts)) for i, d in devices.items()}


@dataclass
class _Past:
    """A node's: as it was, and what it has been told to do since."""

    snapshot: bytes | None = None
    since: list[tuple[str, Any]] = field(default_factory=list)
    rounds: int = 0


@dataclass
class Cluster:
    """`edge_sim.events.Workers` on actors. start: makes one."""

    ray: Any
    start: Callable[[], Any]
    count: int
    nodes: list[Remote] = field(default_factory=list)
    replaced: int = 0
    """actors that died"""

    def __post_init__(self) -> None:
        self.actors = [self.start() for _ in range(self.count)]
        self._pasts: list[_Past] = []

    def populate(self, total: int) -> None:
        """Make all nodes, number i on actor i modulo their count."""
        self._pasts = [_Past() for _ in range(total)]
        shards = self._by_actor(range(total))
        made = self._ask({a: ("nodes", (indices,)) for a, indices in shards.items()})
        by_index = {i: node for a, indices in shards.items() for i, node in zip(indices, made[a], strict=True)}
        self.nodes = [by_index[i] for i in range(total)]

    def turns(self, requests: Sequence[TurnRequest]) -> list[TurnResult]:
        """See `Shard.turns`."""
        kept = {request.index for request in requests if request.keep and self._is_due(request.index)}
        by_index = {request.index: request for request in requests}
        shards = self._by_actor(list(by_index))
        calls = {
            a: ("turns", ([by_index[i] for i in indices], [i for i in indices if i in kept]))
            for a, indices in shards.items()
        }
        outcomes: dict[int, TurnResult] = {}
        for found, told, snapshots in self._ask(calls).values():
            outcomes |= {outcome.index: outcome for outcome in found}
            self._hear(told)
            for i, snapshot in snapshots.items():
                self._pasts[i].snapshot = snapshot
                self._pasts[i].since.clear()
        for request in requests:
            self._pasts[request.index].since.append(("turns", request))
        return [outcomes[request.index] for request in requests]

    def evaluate(self, indices: Sequence[int]) -> list[Evaluation]:
        """See `Shard.evaluate`."""
        shards = self._by_actor(indices)
        found = self._ask({a: ("evaluate", (of,)) for a, of in shards.items()})
        by_index = {one.index: one for several in found.values() for one in several}
        return [by_index[i] for i in indices]

    def revive(self, index: int, finished: bool) -> None:
        """See `Shard.revive`."""
        self._ask({index % self.count: ("revive", (index, finished))})
        self._pasts[index].since.append(("revive", (index, finished)))

    def conclude(self, unread: Mapping[int, Sequence[Delivery]]) -> None:
        """See `Shard.conclude`; all nodes are heard of for the last time."""
        shards = self._by_actor(list(unread))
        for told in self._ask({a: ("conclude", ({i: unread[i] for i in of},)) for a, of in shards.items()}).values():
            self._hear(told)

    def _is_due(self, index: int) -> bool:
        past = self._pasts[index]
        past.rounds += 1
        return past.rounds > 1 and (past.rounds - 1) % EVERY == 0

    def _by_actor(self, indices: Sequence[int]) -> dict[int, list[int]]:
        found: dict[int, list[int]] = {}
        for i in indices:
            found.setdefault(i % self.count, []).append(i)
        return found

    def _hear(self, told: Told) -> None:
        for i, (row, traffic, counts) in told.items():
            self.nodes[i].row, self.nodes[i].traffic, self.nodes[i].counts = row, traffic, counts

    def _ask(self, calls: Mapping[int, tuple[str, tuple[Any, ...]]]) -> dict[int, Any]:
        """All actors at the same time; who dies is replaced, and asked again."""
        left, found = dict(calls), dict[int, Any]()
        for _ in range(1 + LIVES):
            waiting = {a: getattr(self.actors[a], name).remote(*given) for a, (name, given) in left.items()}
            for a, answer in waiting.items():
                try:
                    found[a] = self.ray.get(answer)
                    del left[a]
                except self.ray.exceptions.RayActorError:
                    continue
                except self.ray.exceptions.RayTaskError as reason:
                    raise reason.cause if isinstance(reason.cause, MurmurError) else reason from None
            if not left:
                return found
            for a in left:
                self._replace(a)
        raise ConfigError(f"engine: {LIVES} of Ray's workers died over the same work; look at their logs, or use fewer")

    def _replace(self, a: int) -> None:
        """A new actor with the nodes of one that died. Their work since their snapshots is done again."""
        self.replaced += 1
        self.actors[a] = actor = self.start()
        answers = []
        for i in range(a, len(self._pasts), self.count):
            past = self._pasts[i]
            if past.snapshot is not None:
                answers.append(actor.restore.remote(i, past.snapshot))
            for name, given in past.since:
                answers.append(actor.turns.remote([given], []) if name == "turns" else actor.revive.remote(*given))
        try:
            self.ray.get(answers)
        except self.ray.exceptions.RayActorError:
            return  # that one has died too; whoever asks it next finds out


@contextmanager
def cluster(
    world: World, protocol: str, bundles: Bundles, fleet: str, *, farewell: bool, keeps: bool
) -> Iterator[Cluster]:
    """All nodes of a run, on actors that end with it. Raises ConfigError: Ray is not installed, or not there."""
    ray, begun = _connected()
    scenario = world.scenario
    count = scenario.workers if scenario.workers > 1 else max(1, int(ray.cluster_resources().get("CPU", 1)))
    shared = ray.put(replace(world, models={})), protocol, ray.put(_packed(bundles)), fleet
    settings = {"farewell": farewell, "keeps": keeps, "boards": scenario.boards_by_device(), "plugins": plugins.files()}
    remote = ray.remote(num_cpus=1)(Host)
    made = Cluster(ray, lambda: remote.remote(*shared, settings), min(count, scenario.devices))
    try:
        made.populate(scenario.devices + (1 if scenario.algorithm(protocol).centre else 0))
        yield made
    finally:
        for actor in made.actors:
            ray.kill(actor)
        if begun:
            ray.shutdown()


def _connected() -> tuple[Any, bool]:
    """Ray, and whether it was started by us."""
    try:
        import ray
    except ImportError:
        raise ConfigError("engine: ray is not installed; pip install 'murmur-edge[ray]'") from None
    if ray.is_initialized():
        return ray, False
    address = os.environ.get("RAY_ADDRESS")
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            include_dashboard=None if address else False,
        )
    except (ConnectionError, ValueError, RuntimeError) as reason:
        raise ConfigError(f"engine: no Ray cluster answers at {address or 'this machine'} ({reason})") from None
    return ray, True


def _packed(bundles: Bundles) -> list[tuple[Any, dict[str, bytes]]]:
    """Every bundle's key and files."""
    return [
        (key, {str(f.relative_to(made.path)): f.read_bytes() for f in sorted(made.path.rglob("*")) if f.is_file()})
        for key, made in bundles.exported.items()
    ]


def _unpacked(world: World, folder: Path, packed: Sequence[tuple[Any, dict[str, bytes]]]) -> Bundles:
    found = Bundles(world, folder)
    for number, (key, files) in enumerate(packed):
        for name, content in files.items():
            path = folder / f"bundle-{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        found.exported[key] = bundle.read(folder / f"bundle-{number}")
    return found
