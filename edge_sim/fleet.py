"""The nodes of an emulation, made of a device's own parts; and how they are played in step."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np

from edge import checkpoint, node, plugins, robust
from edge.algorithm import Algorithm
from edge.bundle import Bundle
from edge.engines._none import NoModel
from edge.interfaces import DEVICE, Array, Engine, NodeId, Protocol, ProtocolContext, Traffic, Transport
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox, Waiting
from edge.node import Row
from edge.privacy import perturbation
from edge_sim import lies
from edge_sim.network import Network
from edge_sim.world import Bundles, World

Steps = Iterator[Waiting | Row]


@dataclass
class Device:
    """One emulated node. own: weights of the test rows that make their classes as frequent as on the device."""

    id: NodeId
    setup: ProtocolContext
    own: Array
    bundle: Bundle | None
    engine: Engine
    protocol: Protocol
    transport: Transport
    inbox: Inbox
    mailbox: Mailbox
    steps: Steps = field(default_factory=lambda: iter(()))
    row: Row = field(default_factory=dict)
    """of the round last finished"""

    @property
    def role(self) -> str:
        """device, or what the algorithm calls its centre."""
        return self.setup.role

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Of its private samples."""
        return tuple(np.unique(self.setup.y).tolist())

    @property
    def samples(self) -> int:
        """How many it has."""
        return len(self.setup.y)

    @property
    def traffic(self) -> Traffic:
        """What it has sent and received so far."""
        return self.transport.traffic

    @property
    def counts(self) -> dict[str, int]:
        """Messages its inbox refused, by cause."""
        return self.inbox.counts

    @property
    def honest(self) -> bool:
        """Whether it says what it believes."""
        return not isinstance(self.protocol, lies.Liar)


@dataclass(frozen=True)
class Maker:
    """Makes the nodes of a fleet by their number; the centre, if there is one, comes after the devices.

    bundles: what they train. farewell: whether they stay after their last round, to answer who missed something.
    """

    world: World
    algorithm: Algorithm
    bundles: Bundles
    farewell: bool = False

    @property
    def names(self) -> list[NodeId]:
        """Of all nodes."""
        return [*self.world.names, *([self.algorithm.centre] if self.algorithm.centre else [])]

    @cached_property
    def coding(self) -> dict[str, str]:
        """Kind of message -> coding, looked up once for all devices."""
        return self.world.scenario.coding.by_kind()

    def device(self, i: int, transport: Transport, now: Callable[[], float]) -> Device:
        """Node number i, ready for its first round. now: its clock, in seconds."""
        world, algorithm = self.world, self.algorithm
        scenario, dataset, me = world.scenario, world.dataset, self.names[i]
        is_centre = me == algorithm.centre
        rows = np.empty(0, np.int64) if is_centre else world.shares[i]
        bundle = self.bundles.centre(algorithm) if is_centre else self.bundles.device(algorithm, i)
        setup = algorithm.context(
            me,
            world.names,
            world.weights,
            (dataset.x_train[rows], dataset.y_train[rows]),
            world.reference,
            self.bundles.device(algorithm, i % len(world.names)),
            classes=dataset.classes,
            seed=scenario.seed,
        )
        engines = plugins.load("edge.engines", scenario.runtime)
        engine = engines.create(bundle, threads=scenario.threads, seed=setup.seed) if bundle else NoModel()
        own = world.own(i) if setup.role == DEVICE else np.empty(0)
        protocol, inbox, mailbox = self._process(i, setup, transport, now)
        made = Device(me, setup, own, bundle, engine, protocol, transport, inbox, mailbox)
        self.resume(made, 1)
        return made

    def revive(self, i: int, device: Device, number: int, values: Mapping[str, Array]) -> None:
        """A process that was killed starts again from what it kept after round `number`."""
        counts, now = device.inbox.counts, device.mailbox.now
        device.protocol, device.inbox, device.mailbox = self._process(i, device.setup, device.transport, now)
        device.inbox.counts = counts
        device.transport.receive()  # what it had not read went with it
        checkpoint.restore(values, device.engine, device.protocol, device.mailbox)
        self.resume(device, number + 1)

    def _process(
        self, i: int, setup: ProtocolContext, transport: Transport, now: Callable[[], float]
    ) -> tuple[Protocol, Inbox, Mailbox]:
        """What a device has in memory beside its model."""
        scenario = self.world.scenario
        lie, liars = lies.parse(scenario.liars) if scenario.liars else ("", 0)
        publish = scenario.privacy.publisher(setup.role, setup.seed)
        setup = replace(setup, perturb=perturbation(publish), aggregate=robust.load(scenario.robust))
        if i < liars:
            setup = lies.lying(setup, lie)
        protocol = self.algorithm.create(setup)
        if i < liars:
            protocol = lies.Liar(protocol, lie, setup.seed)
        inbox = Inbox(protocol.accepts())
        return protocol, inbox, Mailbox(transport, inbox, self.coding, now)

    def resume(self, device: Device, first: int) -> None:
        """From now on it plays from round `first`."""
        scenario, setup = self.world.scenario, device.setup
        round_timeout = node.round_timeout(setup, scenario.round_timeout)
        steps = node.rounds(
            device.protocol,
            device.engine,
            device.mailbox,
            first=first,
            last=scenario.rounds,
            round_timeout=round_timeout,
            robust=robust.load(scenario.robust),
            publish=scenario.privacy.publisher(setup.role, setup.seed),
        )
        linger = device.mailbox.linger(scenario.rounds, round_timeout) if self.farewell else ()
        device.steps = chain(steps, linger)


def devices(world: World, algorithm: Algorithm, bundles: Bundles, network: Network) -> Iterator[Device]:
    """Make every device of the fleet, and then its centre, if the algorithm has one. network: where messages go."""
    make = Maker(world, algorithm, bundles)
    for i, me in enumerate(make.names):
        yield make.device(i, network.attach(me), network.now)


def play(fleet: Sequence[Device], network: Network, workers: int = 1) -> Iterator[None]:
    """Run all loops in step; yields after each round, when every device has its `row`.

    workers: devices that have their turn at the same time, in threads. What they say arrives when all have had it, in
    the order of the devices (over a broker: when it does), so that the number of workers changes no result.
    """
    with ThreadPoolExecutor(workers) as pool:
        turns = pool.map if workers > 1 else map
        while True:
            pending = list(fleet)
            before: list[Waiting] = []
            while pending:
                steps = list(turns(lambda device: next(device.steps, None), pending))
                if None in steps:
                    return
                waiting: list[tuple[Device, Waiting]] = []
                for device, step in zip(pending, steps, strict=True):
                    if isinstance(step, Waiting):
                        waiting.append((device, step))
                    else:
                        assert step is not None
                        device.row = step
                pending, now = [device for device, _ in waiting], [step for _, step in waiting]
                if not network.release() and now and now == before:  # a whole pass changed nothing
                    network.idle([device.transport for device in pending], min(now, key=lambda step: step.until))
                before = now
            yield
