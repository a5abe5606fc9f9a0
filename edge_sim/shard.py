"""Some of an emulation's nodes, in this process: what they do in a turn, and what they would be examined with.

A shard knows nothing of time but what it is told, and of other nodes but what they say, so that it does not matter how
many shards there are and where.
"""

import pickle
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from edge import checkpoint
from edge.interfaces import Array, Delivery, Engine, Floats, NodeId, Traffic
from edge.messaging.mailbox import MailboxSnapshot, Waiting
from edge.messaging.topics import publish_size
from edge.node import Row
from edge.transports.memory import Network
from edge_sim import boards, replay, work
from edge_sim.boards import Board
from edge_sim.fleet import Device, Maker
from edge_sim.replay import Pace
from edge_sim.result import Accuracy
from edge_sim.world import World

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True)
class Order:
    """Node `index` has its turn at `at` virtual seconds, and `arrived` is what came since the last one.

    keep: what it has now is what it would go on from, if it were killed before its next finished round.
    """

    index: int
    at: float
    arrived: Sequence[Delivery] = ()
    keep: bool = False


@dataclass(frozen=True)
class Sent:
    """A message on its way. at: when it left; size: bytes of its packet in MQTT."""

    at: float
    receiver: NodeId
    size: int
    delivery: Delivery


@dataclass(frozen=True)
class Outcome:
    """What a turn came to. step: None after the last round. until: virtual seconds, when it had computed it."""

    index: int
    step: Waiting | Row | None
    until: float
    sent: Sequence[Sent]


@dataclass(frozen=True)
class Exam:
    """Accuracies by head, and what the last head says about the test set (rows, classes)."""

    index: int
    accuracies: list[Accuracy]
    table: Array | None


@dataclass
class _Clock:
    """A node's own: the emulation's, and what it has computed since its turn began."""

    at: float = 0.0
    computed: Callable[[], float] = lambda: 0.0
    before: float = 0.0

    def __call__(self) -> float:
        return self.at + (self.computed() - self.before)  # so never before `at`, by no rounding

    def set(self, at: float) -> None:
        self.at, self.before = at, self.computed()


@dataclass
class _Host:
    """A node with its clock, its outbox, and its checkpoint."""

    device: Device
    clock: _Clock
    outbox: list[Sent] = field(default_factory=list)
    kept: tuple[int, dict[str, Array]] = (0, {})


@dataclass(frozen=True)
class NodeSnapshot:
    """A node between two rounds. work: see `Engine.work`; kept: its checkpoint, as (round, arrays)."""

    engine: Mapping[str, Array]
    work: Counter[tuple[str, int, int]]
    protocol: Mapping[str, Array]
    mailbox: MailboxSnapshot
    traffic: Traffic
    row: Row
    kept: tuple[int, dict[str, Array]]


@dataclass
class Shard:
    """See the module. make: makes the nodes. workers: threads in which they compute.

    keeps: whether nodes have to be able to start again.
    """

    make: Maker
    fleet: str
    workers: int = 1
    keeps: bool = False
    boards: dict[int, str] = field(default_factory=dict)
    hosts: dict[int, _Host] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._network = Network(self.fleet, self._carry)
        self._number = {name: i for i, name in enumerate(self.make.names)}
        folder = self.make.world.scenario.replay
        self._paces = replay.read(Path(folder)) if folder else []
        self._pool = ThreadPoolExecutor(self.workers) if self.workers > 1 else None

    def close(self) -> None:
        """Let the threads go."""
        if self._pool:
            self._pool.shutdown()

    def device(self, index: int) -> Device:
        """The node of that number."""
        return self._host(index).device

    def turns(self, orders: Sequence[Order]) -> list[Outcome]:
        """All of them, of different nodes, in any order."""
        for order in orders:
            self._host(order.index)  # made one after the other: they share sessions
        return self._map(self._turn, orders)

    def exams(self, indices: Sequence[int]) -> list[Exam]:
        """What devices would answer now. Being examined is no work of their engines'."""
        return self._map(self._exam, indices)

    def revive(self, index: int, finished: bool) -> None:
        """A node was killed; it goes on after the round it has `finished`, or after the one before."""
        host = self._host(index)
        if finished:
            self._keep(host)
        self.make.revive(index, host.device, *host.kept)

    def snapshot(self, index: int) -> bytes:
        """All that a node between two rounds goes on from, here or elsewhere, as if nothing had happened."""
        host = self._host(index)
        device = host.device
        return pickle.dumps(
            NodeSnapshot(
                device.engine.state(),
                device.engine.work,
                device.protocol.state(),
                device.mailbox.snapshot(),
                device.traffic.snapshot(),
                device.row,
                host.kept,
            )
        )

    def restore(self, index: int, snapshot: bytes) -> None:
        """Put back what `snapshot` gave."""
        host = self._host(index)
        device = host.device
        node: NodeSnapshot = pickle.loads(snapshot)
        device.engine.load_state(node.engine)
        device.engine.work = node.work
        device.protocol.load_state(node.protocol)
        device.mailbox.restore(node.mailbox)
        device.traffic.restore(node.traffic)
        device.row, host.kept = node.row, node.kept
        self.make.resume(device, max(int(device.row["round"]) + 1, device.inbox.majority_round()))

    def leave(self, arrived: Mapping[int, Sequence[Delivery]]) -> None:
        """The run is over; what has come for nodes since their last turn still counts as received."""
        for index, deliveries in arrived.items():
            for delivery in deliveries:
                self._network.arrive(self.make.names[index], delivery)

    def _map(self, act: Callable[[A], B], items: Sequence[A]) -> list[B]:
        return list((self._pool.map if self._pool and len(items) > 1 else map)(act, items))

    def _host(self, index: int) -> _Host:
        """The node, made when it is first needed."""
        if index not in self.hosts:
            clock = _Clock()
            device = self.make.device(index, self._network.attach(self.make.names[index]), clock)
            if index in self.boards and device.bundle:
                clock.computed = partial(_seconds, boards.load(self.boards[index]), device.bundle.path, device.engine)
            if index < len(self._paces):
                clock.computed = partial(_replayed, self._paces[index], device)
            self.hosts[index] = host = _Host(device, clock)
            if self.keeps:
                self._keep(host)
        return self.hosts[index]

    def _keep(self, host: _Host) -> None:
        device = host.device
        values = checkpoint.gather(device.engine, device.protocol, device.mailbox)
        host.kept = int(device.row.get("round", 0)), values

    def _carry(self, receiver: NodeId, topic: str, delivery: Delivery) -> None:
        host = self.hosts[self._number[delivery.sender]]
        host.outbox.append(Sent(host.clock(), receiver, publish_size(topic, len(delivery.payload)), delivery))

    def _turn(self, order: Order) -> Outcome:
        host = self.hosts[order.index]
        device = host.device
        if order.keep:
            self._keep(host)
        host.clock.set(order.at)
        for delivery in order.arrived:
            self._network.arrive(device.id, delivery)
        step = next(device.steps, None)
        if step is not None and not isinstance(step, Waiting):
            device.row = step
        sent, host.outbox = host.outbox, []
        return Outcome(order.index, step, host.clock(), sent)

    def _exam(self, index: int) -> Exam:
        centre = self.hosts.get(len(self.make.world.names))
        return examine(index, self.device(index), centre.device if centre else None, self.make.world)


def _seconds(board: Board, folder: Path, engine: Engine) -> float:
    """What an engine's work so far takes on a board."""
    return board.seconds(work.macs(folder, engine.work), sum(engine.work.values()))


def _replayed(pace: Pace, device: Device) -> float:
    """What it took in the field."""
    return pace.seconds(device.inbox.round, sum(device.engine.work.values()))


def examine(index: int, device: Device, centre: Device | None, world: World) -> Exam:
    """Device number `index` on the test set."""
    tables = _answers(device, centre, world.dataset.x_test)
    return Exam(index, _accuracies(tables, world, device), tables[-1] if tables else None)


def _answers(device: Device, centre: Device | None, x: Array) -> list[Floats]:
    """By head, what the device says about `x`, (rows, classes). Being examined is no work of its engine's."""
    model = centre.engine if centre and centre.bundle else None
    before = [(engine, engine.work.copy()) for engine in (device.engine, model) if engine]
    tables = list(device.protocol.heads(device.engine, x, model))
    for engine, count in before:
        engine.work = count
    return tables


def _accuracies(tables: Sequence[Array], world: World, device: Device) -> list[Accuracy]:
    """By head: (share of the test set that is right, the same weighted as the device's own classes)."""
    hits = [table.argmax(axis=1) == world.dataset.y_test for table in tables]
    return [(float(hit.mean()), float(hit @ device.own)) for hit in hits]
