"""Some of an emulation's nodes, in this process: they have their turns here, and are evaluated.

A shard knows of time only what a request says, and of other nodes only the messages that have arrived, so that it does
not matter how many shards there are, and where.
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
from edge.interfaces import Array, Delivery, Engine, NodeId, Traffic
from edge.messaging.mailbox import MailboxSnapshot, Waiting
from edge.messaging.topics import publish_size
from edge.node import Row, next_round
from edge.transports.memory import Network
from edge_sim import boards, replay, work
from edge_sim.boards import Board
from edge_sim.evaluation import Evaluation, evaluate
from edge_sim.fleet import EmulatedNode, Maker
from edge_sim.replay import Pace
from edge_sim.turns import OutgoingMessage, TurnRequest, TurnResult

A = TypeVar("A")
B = TypeVar("B")


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

    device: EmulatedNode
    clock: _Clock
    outbox: list[OutgoingMessage] = field(default_factory=list)
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

    def device(self, index: int) -> EmulatedNode:
        """The node of that number."""
        return self._host(index).device

    def turns(self, requests: Sequence[TurnRequest]) -> list[TurnResult]:
        """Take turns of different nodes, in any order, at the same time if there are `workers`."""
        for request in requests:
            self._host(request.index)  # made one after the other: they share sessions
        return self._map(self._turn, requests)

    def evaluate(self, indices: Sequence[int]) -> list[Evaluation]:
        """Evaluate devices as they are now."""
        return self._map(self._evaluate, indices)

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
        self.make.resume(device, next_round(int(device.row["round"]), device.node.config.rounds, device.inbox))

    def conclude(self, unread: Mapping[int, Sequence[Delivery]]) -> None:
        """End the run: what has arrived for nodes since their last turn counts as received, though nobody reads it."""
        for index, deliveries in unread.items():
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
        size = publish_size(topic, len(delivery.payload))
        host.outbox.append(OutgoingMessage(host.clock(), receiver, size, delivery))

    def _turn(self, request: TurnRequest) -> TurnResult:
        host = self.hosts[request.index]
        device = host.device
        if request.keep and self.keeps:
            self._keep(host)
        host.clock.set(request.at)
        for delivery in request.arrived:
            self._network.arrive(device.id, delivery)
        step = next(device.steps, None)
        if step is not None and not isinstance(step, Waiting):
            device.row = step
        sent, host.outbox = host.outbox, []
        return TurnResult(request.index, step, host.clock(), sent)

    def _evaluate(self, index: int) -> Evaluation:
        centre = self.hosts.get(len(self.make.world.names))
        return evaluate(index, self.device(index), centre.device if centre else None, self.make.world)


def _seconds(board: Board, folder: Path, engine: Engine) -> float:
    """What an engine's work so far takes on a board."""
    return board.seconds(work.macs(folder, engine.work), sum(engine.work.values()))


def _replayed(pace: Pace, device: EmulatedNode) -> float:
    """What it took in the field."""
    return pace.seconds(device.inbox.round, sum(device.engine.work.values()))
