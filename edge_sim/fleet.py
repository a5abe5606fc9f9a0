"""The nodes of an emulation, made of a device's own parts."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

import edge.device
from edge import checkpoint
from edge.algorithm import Algorithm
from edge.bundle import Bundle
from edge.interfaces import Array, Engine, NodeId, Protocol, ProtocolContext, Traffic, Transport
from edge.messaging.inbox import Inbox
from edge.messaging.mailbox import Mailbox, Waiting
from edge.node import Row
from edge_sim import attacks
from edge_sim.world import Bundles, World

Steps = Iterator[Waiting | Row]


@dataclass
class EmulatedNode:
    """One emulated node.

    Attributes:
        node: what a board would run; another one after the process was killed.
        bundle: what it trains; None for a centre without a model.
        own: (n,) weights of the test rows that make their classes as frequent as on the device.
        steps: its rounds, from here on.
        row: of the round last finished.
    """

    node: edge.device.Device
    bundle: Bundle | None
    own: Array
    steps: Steps = field(default_factory=lambda: iter(()))
    row: Row = field(default_factory=dict)

    @property
    def id(self) -> NodeId:
        """Its name."""
        return self.node.id

    @property
    def context(self) -> ProtocolContext:
        """What its protocol was told."""
        return self.node.context

    @property
    def engine(self) -> Engine:
        """Its model."""
        return self.node.engine

    @property
    def protocol(self) -> Protocol:
        """The algorithm on it."""
        return self.node.protocol

    @property
    def transport(self) -> Transport:
        """What it sends with."""
        return self.node.transport

    @property
    def inbox(self) -> Inbox:
        """What it has received."""
        return self.node.inbox

    @property
    def mailbox(self) -> Mailbox:
        """Its correspondence."""
        return self.node.mailbox

    @property
    def role(self) -> str:
        """device, or what the algorithm calls its centre."""
        return self.context.role

    @cached_property
    def classes(self) -> tuple[int, ...]:
        """Of its private samples."""
        return self.context.task.held(self.context.y)

    @property
    def samples(self) -> int:
        """How many it has."""
        return len(self.context.y)

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
        """Whether it sends what it should."""
        return not isinstance(self.protocol, attacks.ByzantineProtocol)


@dataclass(frozen=True)
class Maker:
    """Makes the nodes of a fleet by their number; the centre, if there is one, comes after the devices.

    bundles: what they train. lingers: whether they stay after their last round, to answer who missed a message.
    """

    world: World
    algorithm: Algorithm
    bundles: Bundles
    lingers: bool = False

    @property
    def names(self) -> list[NodeId]:
        """Of all nodes."""
        return [*self.world.names, *([self.algorithm.centre] if self.algorithm.centre else [])]

    def device(self, i: int, transport: Transport, now: Callable[[], float]) -> EmulatedNode:
        """Node number i, ready for its first round. now: its clock, in seconds."""
        world, algorithm, me = self.world, self.algorithm, self.names[i]
        is_centre = me == algorithm.centre
        bundle = self.bundles.centre(algorithm) if is_centre else self.bundles.device(algorithm, i)
        model = self.bundles.device(algorithm, i % len(world.names))
        context = world.context(algorithm, me, model, world.scenario.seed)
        engine = edge.device.engine(world.scenario, bundle, context)
        own = np.empty(0) if is_centre else world.own(i)
        emulated = EmulatedNode(self._node(i, context, engine, transport, now), bundle, own)
        self.resume(emulated, 1)
        return emulated

    def revive(self, i: int, emulated: EmulatedNode, number: int, values: Mapping[str, Array]) -> None:
        """A process that was killed starts again from what it kept after round `number`."""
        old = emulated.node
        emulated.node = self._node(i, old.context, old.engine, old.transport, old.mailbox.now)
        emulated.inbox.counts = old.inbox.counts
        emulated.transport.receive()  # what it had not read went with it
        checkpoint.restore(values, emulated.engine, emulated.protocol, emulated.mailbox)
        self.resume(emulated, number + 1)

    def _node(
        self, i: int, context: ProtocolContext, engine: Engine, transport: Transport, now: Callable[[], float]
    ) -> edge.device.Device:
        """A device as `edge-node` builds it; a Byzantine one has another protocol."""
        scenario = self.world.scenario
        create: Callable[[ProtocolContext], Protocol] = self.algorithm.create
        if scenario.byzantine:
            attack, count = attacks.parse(scenario.byzantine)
            create = attacks.attacker(create, attack) if i < count else create
        rule = self.algorithm.aggregation(scenario.aggregation, context.task)
        return edge.device.build(
            scenario, create, context, engine, transport, now, aggregation=rule, noise_key=context.seed
        )

    def resume(self, emulated: EmulatedNode, first: int) -> None:
        """From now on it plays from round `first`."""
        emulated.steps = emulated.node.rounds(first, emulated.node.round_timeout if self.lingers else 0.0)
