"""The nodes of an emulation spread over a Ray cluster: a shard in each actor, and the clock here.

    engine = "ray"          ONNX Runtime in the actors; "ray:tflite" another engine
    workers = 4             how many actors; the processors of the cluster, if 1

What comes of a turn depends on nothing but its node's past and what has arrived for it, so results are those of one
process, bit by bit, wherever turns are taken. An actor that dies is replaced: each of its nodes is restored to a
snapshot at most `SNAPSHOT_INTERVAL` rounds old, and takes the turns since then again. RAY_ADDRESS names the cluster;
without it one is started on this machine.
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

SNAPSHOT_INTERVAL = 10
"""Rounds from one snapshot of a node to the next: at most so many are repeated if its actor dies."""
MAX_REPLACEMENTS = 3
"""Actors that may die over one call before the emulation gives up."""


@dataclass
class RemoteNode:
    """What is known here of a node that is elsewhere; an `edge_sim.rounds.ReportedNode`."""

    id: NodeId
    role: str
    classes: tuple[int, ...]
    samples: int
    honest: bool
    row: Row = field(default_factory=dict)
    traffic: Traffic = field(default_factory=Traffic)
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeReport:
    """A node's latest row, its traffic, and the messages that its inbox refused, by cause."""

    row: Row
    traffic: Traffic
    counts: Mapping[str, int]


Reports = dict[int, NodeReport]
"""by number of the node"""


class ShardActor:
    """A shard that runs in an actor, and reports about its nodes."""

    def __init__(
        self, world: World, protocol: str, files: Sequence[Any], fleet: str, settings: Mapping[str, Any]
    ) -> None:
        for path in settings["plugins"]:
            plugins.add_file(path)
        self._folder = tempfile.TemporaryDirectory(prefix="murmur-")
        bundles = _unpacked(world, Path(self._folder.name), files)
        make = Maker(world, world.scenario.algorithm(protocol), bundles, settings["lingers"])
        self._shard = Shard(make, fleet, 1, settings["keeps"], settings["boards"])

    def nodes(self, indices: Sequence[int]) -> list[RemoteNode]:
        """Make the nodes of these numbers."""
        nodes = [self._shard.device(i) for i in indices]
        return [RemoteNode(d.id, d.role, d.classes, d.samples, d.honest, d.row, d.traffic, d.counts) for d in nodes]

    def turns(
        self, requests: Sequence[TurnRequest], kept: Sequence[int]
    ) -> tuple[list[TurnResult], Reports, dict[int, bytes]]:
        """See `Shard.turns`; also reports, and snapshots of the nodes in `kept` before their turn."""
        snapshots = {i: self._shard.snapshot(i) for i in kept}
        results = self._shard.turns(requests)
        return results, self._reports([request.index for request in requests]), snapshots

    def evaluate(self, indices: Sequence[int]) -> list[Evaluation]:
        """See `Shard.evaluate`."""
        return self._shard.evaluate(indices)

    def revive(self, index: int, finished: bool) -> None:
        """See `Shard.revive`."""
        self._shard.revive(index, finished)

    def restore(self, index: int, snapshot: bytes) -> None:
        """See `Shard.restore`."""
        self._shard.restore(index, snapshot)

    def conclude(self, unread: Mapping[int, Sequence[Delivery]]) -> Reports:
        """See `Shard.conclude`; also reports for the last time."""
        self._shard.conclude(unread)
        return self._reports(list(unread))

    def _reports(self, indices: Sequence[int]) -> Reports:
        nodes = {i: self._shard.device(i) for i in indices}
        return {i: NodeReport(d.row, replace(d.traffic), dict(d.counts)) for i, d in nodes.items()}


@dataclass
class _History:
    """A node's latest snapshot, and the calls since."""

    snapshot: bytes | None = None
    since: list[tuple[str, Any]] = field(default_factory=list)
    rounds: int = 0


@dataclass
class RayCluster:
    """`edge_sim.emulation.Workers` on actors. start: starts one."""

    ray: Any
    start: Callable[[], Any]
    count: int
    nodes: list[RemoteNode] = field(default_factory=list)
    replaced: int = 0
    """how many actors died"""

    def __post_init__(self) -> None:
        self.actors = [self.start() for _ in range(self.count)]
        self._histories: list[_History] = []

    def populate(self, total: int) -> None:
        """Make all nodes, number i on actor i modulo their count."""
        self._histories = [_History() for _ in range(total)]
        shards = self._by_actor(range(total))
        nodes = self._call({a: ("nodes", (indices,)) for a, indices in shards.items()})
        by_index = {i: node for a, indices in shards.items() for i, node in zip(indices, nodes[a], strict=True)}
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
        results: dict[int, TurnResult] = {}
        for some, reports, snapshots in self._call(calls).values():
            results |= {result.index: result for result in some}
            self._take(reports)
            for i, snapshot in snapshots.items():
                self._histories[i].snapshot = snapshot
                self._histories[i].since.clear()
        for request in requests:
            self._histories[request.index].since.append(("turns", request))
        return [results[request.index] for request in requests]

    def evaluate(self, indices: Sequence[int]) -> list[Evaluation]:
        """See `Shard.evaluate`."""
        shards = self._by_actor(indices)
        evaluations = self._call({a: ("evaluate", (of,)) for a, of in shards.items()})
        by_index = {one.index: one for several in evaluations.values() for one in several}
        return [by_index[i] for i in indices]

    def revive(self, index: int, finished: bool) -> None:
        """See `Shard.revive`."""
        self._call({index % self.count: ("revive", (index, finished))})
        self._histories[index].since.append(("revive", (index, finished)))

    def conclude(self, unread: Mapping[int, Sequence[Delivery]]) -> None:
        """See `Shard.conclude`."""
        shards = self._by_actor(list(unread))
        for reports in self._call(
            {a: ("conclude", ({i: unread[i] for i in of},)) for a, of in shards.items()}
        ).values():
            self._take(reports)

    def _is_due(self, index: int) -> bool:
        history = self._histories[index]
        history.rounds += 1
        return history.rounds > 1 and (history.rounds - 1) % SNAPSHOT_INTERVAL == 0

    def _by_actor(self, indices: Sequence[int]) -> dict[int, list[int]]:
        indices_of: dict[int, list[int]] = {}
        for i in indices:
            indices_of.setdefault(i % self.count, []).append(i)
        return indices_of

    def _take(self, reports: Reports) -> None:
        for i, report in reports.items():
            self.nodes[i].row, self.nodes[i].traffic, self.nodes[i].counts = report.row, report.traffic, report.counts

    def _call(self, calls: Mapping[int, tuple[str, tuple[Any, ...]]]) -> dict[int, Any]:
        """Call a method of several actors at the same time; an actor that dies is replaced, and called again.

        Args:
            calls: number of the actor -> name of the method and its arguments.

        Returns:
            Number of the actor -> what the method returned.

        Raises:
            ConfigError: MAX_REPLACEMENTS actors have died over these calls.
        """
        left, answers = dict(calls), dict[int, Any]()
        for _ in range(1 + MAX_REPLACEMENTS):
            waiting = {a: getattr(self.actors[a], name).remote(*given) for a, (name, given) in left.items()}
            for a, answer in waiting.items():
                try:
                    answers[a] = self.ray.get(answer)
                    del left[a]
                except self.ray.exceptions.RayActorError:
                    continue
                except self.ray.exceptions.RayTaskError as reason:
                    raise reason.cause if isinstance(reason.cause, MurmurError) else reason from None
            if not left:
                return answers
            for a in left:
                self._replace(a)
        raise ConfigError(
            f"engine: {MAX_REPLACEMENTS} of Ray's workers died over the same work; look at their logs, or use fewer"
        )

    def _replace(self, a: int) -> None:
        """Start a new actor with the nodes of one that died, and repeat their work since their snapshots."""
        self.replaced += 1
        self.actors[a] = actor = self.start()
        answers = []
        for i in range(a, len(self._histories), self.count):
            history = self._histories[i]
            if history.snapshot is not None:
                answers.append(actor.restore.remote(i, history.snapshot))
            for name, given in history.since:
                answers.append(actor.turns.remote([given], []) if name == "turns" else actor.revive.remote(*given))
        try:
            self.ray.get(answers)
        except self.ray.exceptions.RayActorError:
            return  # that one has died too; the next call replaces it


@contextmanager
def cluster(
    world: World, protocol: str, bundles: Bundles, fleet: str, *, lingers: bool, keeps: bool
) -> Iterator[RayCluster]:
    """Put all nodes of a run on actors, which end with it.

    Args:
        world: what the nodes share.
        protocol: its name; every actor loads it.
        bundles: what the nodes train; sent to every actor.
        fleet: its name in topics.
        lingers: whether nodes stay after their last round, to answer who missed a message.
        keeps: whether nodes must be able to restart from a checkpoint.

    Raises:
        ConfigError: Ray is not installed, or no cluster answers.
    """
    ray, started_here = _connected()
    scenario = world.scenario
    count = scenario.workers if scenario.workers > 1 else max(1, int(ray.runningresources().get("CPU", 1)))
    shared = ray.put(replace(world, models={})), protocol, ray.put(_packed(bundles)), fleet
    settings = {"lingers": lingers, "keeps": keeps, "boards": scenario.boards_by_device(), "plugins": plugins.files()}
    remote = ray.remote(num_cpus=1)(ShardActor)
    running = RayCluster(ray, lambda: remote.remote(*shared, settings), min(count, scenario.devices))
    try:
        running.populate(scenario.devices + (1 if scenario.algorithm(protocol).centre else 0))
        yield running
    finally:
        for actor in running.actors:
            ray.kill(actor)
        if started_here:
            ray.shutdown()


def _connected() -> tuple[Any, bool]:
    """Connect to Ray; returns it, and whether a cluster was started for it."""
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
        (key, {str(f.relative_to(one.path)): f.read_bytes() for f in sorted(one.path.rglob("*")) if f.is_file()})
        for key, one in bundles.exported.items()
    ]


def _unpacked(world: World, folder: Path, packed: Sequence[tuple[Any, dict[str, bytes]]]) -> Bundles:
    bundles = Bundles(world, folder)
    for number, (key, files) in enumerate(packed):
        for name, content in files.items():
            path = folder / f"bundle-{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        bundles.exported[key] = bundle.read(folder / f"bundle-{number}")
    return bundles
