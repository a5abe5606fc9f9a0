"""Many devices in one process, in step: the same loop, the same bytes."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from edge import node, plugins, robust
from edge.algorithm import Algorithm
from edge.bundle import Bundle
from edge.engines._none import NoModel
from edge.inbox import Inbox
from edge.interfaces import DEVICE, Array, Engine, NodeId, Protocol, Transport
from edge.node import Row
from edge.post import Post, Waiting
from edge.sim import lies
from edge.sim.network import Network
from edge.sim.world import Bundles, World


@dataclass
class Device:
    """One emulated node. own: weights of the test rows that make their classes as frequent as on the device."""

    id: NodeId
    role: str
    classes: tuple[int, ...]
    samples: int
    own: Array
    bundle: Bundle | None
    engine: Engine
    protocol: Protocol
    transport: Transport
    inbox: Inbox
    post: Post
    steps: Iterator[Waiting | Row]
    row: Row
    """of the round last finished"""


def devices(world: World, algorithm: Algorithm, bundles: Bundles, network: Network) -> Iterator[Device]:
    """Make every device of the fleet, ready for its first round, and then its centre, if the algorithm has one.

    Args:
        world: the shared data and graph.
        algorithm: what they run.
        bundles: what they train.
        network: where their messages go.
    """
    scenario, dataset = world.scenario, world.dataset
    engines = plugins.load("edge.engines", scenario.engine)
    centre = [algorithm.centre] if algorithm.centre else []
    rule = robust.load(scenario.robust)
    lie, liars = lies.parse(scenario.liars) if scenario.liars else ("", 0)
    for i, me in enumerate([*world.names, *centre]):
        rows = world.shares[i] if me != algorithm.centre else np.empty(0, np.int64)
        bundle = bundles.device(algorithm, i) if me != algorithm.centre else bundles.centre(algorithm)
        setup = algorithm.setup(
            me,
            world.names,
            world.weights,
            (dataset.x_train[rows], dataset.y_train[rows]),
            world.reference,
            bundles.device(algorithm, i % len(world.names)),
            classes=dataset.classes,
            seed=scenario.seed,
        )
        engine = engines.create(bundle, threads=scenario.threads, seed=setup.seed) if bundle else NoModel()
        protocol, transport = algorithm.create(setup), network.attach(me)
        if i < liars:
            protocol = lies.Liar(protocol, lie, setup.seed)
        inbox = Inbox(protocol.hears())
        post = Post(transport, inbox, scenario.coding.by_kind(), network.now)
        patience = node.patience(setup, scenario.patience)
        steps = node.rounds(
            protocol,
            engine,
            post,
            first=1,
            last=scenario.rounds,
            patience=patience,
            robust=rule,
            publish=scenario.privacy.publisher(setup.role, setup.seed),
        )
        yield Device(
            id=me,
            role=setup.role,
            classes=tuple(np.unique(setup.y).tolist()),
            samples=len(setup.y),
            own=world.own(i) if setup.role == DEVICE else np.empty(0),
            bundle=bundle,
            engine=engine,
            protocol=protocol,
            transport=transport,
            inbox=inbox,
            post=post,
            steps=steps,
            row={},
        )


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
