"""Many devices in one process, in step: the same loop, the same bytes, one thread."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edge import node, plugins
from edge.bundle import Bundle
from edge.inbox import Inbox
from edge.interfaces import Array, Engine, NodeId, Protocol, Setup, Transport
from edge.node import Row, Waiting
from edge.sim.network import Network
from edge.sim.scenario import Scenario
from edge.sim.world import World


@dataclass
class Device:
    """One emulated device. own: which test rows are of classes it holds."""

    id: NodeId
    classes: tuple[int, ...]
    own: Array
    engine: Engine
    protocol: Protocol
    transport: Transport
    inbox: Inbox
    steps: Iterator[Waiting | Row]
    row: Row
    """of the round last finished"""


def devices(
    scenario: Scenario,
    world: World,
    name: str,
    bundle: Bundle,
    network: Network,
) -> Iterator[Device]:
    """Make every device of the fleet, ready for its first round.

    Args:
        scenario: what to emulate.
        world: the shared data and graph.
        name: of the protocol.
        bundle: exported for the protocol's objective.
        network: where its messages go.
    """
    module = plugins.load("edge.protocols", name)
    engines = plugins.load("edge.engines", scenario.engine)
    settings, coding = scenario.settings_of(name), scenario.coding.by_kind()
    dataset = world.dataset
    for i, (me, share) in enumerate(zip(world.names, world.shares, strict=True)):
        setup = Setup(
            me=me,
            weights=world.weights[me],
            x=dataset.x_train[share],
            y=dataset.y_train[share],
            reference_x=world.reference_x,
            reference_digest=world.reference_digest,
            model_digest=bundle.manifest.model_digest,
            classes=dataset.classes,
            seed=scenario.seed * 1_000_003 + i,
        )
        engine = engines.create(bundle, threads=scenario.threads, seed=setup.seed)
        protocol = module.create(setup, settings)
        transport = network.attach(me)
        inbox = Inbox(setup.neighbours)
        classes = np.unique(setup.y)
        steps = node.rounds(
            protocol,
            engine,
            transport,
            inbox,
            coding=coding,
            first=1,
            last=scenario.rounds,
            patience=scenario.patience,
            now=network.now,
        )
        yield Device(
            id=me,
            classes=tuple(classes.tolist()),
            own=np.isin(dataset.y_test, classes),
            engine=engine,
            protocol=protocol,
            transport=transport,
            inbox=inbox,
            steps=steps,
            row={},
        )


def play(fleet: Sequence[Device], idle: Callable[[Transport, Waiting], None]) -> Iterator[None]:
    """Run all loops in step; yields after each round, when every device has its `row`.

    idle: called when every unfinished device waits, with the transport of one and what it waits for.
    """
    while True:
        pending = list(fleet)
        before: list[Waiting] = []
        while pending:
            waiting: list[tuple[Device, Waiting]] = []
            for device in pending:
                step = next(device.steps, None)
                if step is None:
                    return
                if isinstance(step, Waiting):
                    waiting.append((device, step))
                else:
                    device.row = step
            pending = [device for device, _ in waiting]
            steps = [step for _, step in waiting]
            if steps and steps == before:  # a whole pass changed nothing
                device, step = min(waiting, key=lambda w: w[1].until)
                idle(device.transport, step)
            before = steps
        yield
