"""The same nodes over a real broker, in real time: `edge-sim --transport mqtt`.

Nodes run the loop of `edge.node` with MQTT clients of their own, as on boards, and go in step: a round begins when all
have finished the one before. So the figures are those of a fleet in virtual time in which nothing takes time
(`edge_sim.emulation`), which a test compares.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from edge import node
from edge.interfaces import DEVICE, NodeId, Transport
from edge.messaging.mailbox import Waiting
from edge_sim.closing import RoundClosed
from edge_sim.emulation import NodeFinished, Occurrence
from edge_sim.evaluation import evaluate
from edge_sim.fleet import EmulatedNode, Maker
from edge_sim.world import World

SLICE = 0.001
"""Seconds for which one transport is listened to before the others are looked at"""


@dataclass(frozen=True)
class RealTimeFleet:
    """Nodes that are connected, the centre last. workers: threads in which they compute."""

    world: World
    nodes: Sequence[EmulatedNode]
    workers: int = 1

    def rounds(self) -> Iterator[None]:
        """Run all loops in step; yields after each round, when every node has its `row`."""
        with ThreadPoolExecutor(self.workers) as pool:
            advance = pool.map if self.workers > 1 else map
            while True:
                pending = list(self.nodes)
                before: list[Waiting] = []
                while pending:
                    steps = list(advance(lambda one: next(one.steps, None), pending))
                    if None in steps:
                        return
                    waiting: list[tuple[EmulatedNode, Waiting]] = []
                    for one, step in zip(pending, steps, strict=True):
                        if isinstance(step, Waiting):
                            waiting.append((one, step))
                        elif step is not None:
                            one.row = step
                    pending, now = [one for one, _ in waiting], [step for _, step in waiting]
                    if now and now == before:  # a whole pass changed nothing
                        _idle([one.transport for one in pending], min(step.until for step in now))
                    before = now
                yield

    def run(self) -> Iterator[Occurrence]:
        """Run all rounds, evaluate devices as the scenario says, and publish telemetry."""
        scenario = self.world.scenario
        centre = next((one for one in self.nodes if one.role != DEVICE), None)
        for number, _ in enumerate(self.rounds(), start=1):
            yield from (NodeFinished(i, dict(one.row)) for i, one in enumerate(self.nodes))
            if scenario.evaluated(number):
                for i, device in enumerate(self.nodes[: scenario.devices]):
                    yield (evaluation := evaluate(i, device, centre, self.world))
                    accuracies = evaluation.accuracies
                    device.row[f"{self.world.dataset.task.key}_all"] = accuracies[-1][0] if accuracies else 0.0
            for one in self.nodes:
                one.transport.report({**one.row, **node.telemetry(one.traffic, one.counts)})
            yield RoundClosed(number, 0.0, sum(one.traffic.payload_bytes_sent for one in self.nodes))


@contextmanager
def connected(make: Maker, connect: Callable[[NodeId], Transport], workers: int = 1) -> Iterator[RealTimeFleet]:
    """Connect every node of a fleet, and disconnect them in the end.

    Args:
        make: makes the nodes.
        connect: makes the transport of the node of that name.
        workers: threads in which nodes compute.
    """
    with ExitStack() as stack:
        nodes = []
        for i, name in enumerate(make.names):
            transport = connect(name)
            stack.callback(transport.close)
            nodes.append(make.device(i, transport, time.monotonic))
        yield RealTimeFleet(make.world, nodes, workers)


def _idle(transports: Sequence[Transport], until: float) -> None:
    """Wait until something has arrived for anybody, whose message may be the one that lets all go on."""
    while (left := until - time.monotonic()) > 0 and not any(transport.wait(0) for transport in transports):
        transports[0].wait(min(left, SLICE))
