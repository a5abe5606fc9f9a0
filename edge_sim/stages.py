"""A fleet that is ready to run: in virtual time in this process or on Ray's, or in real time over a broker."""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial

from edge.algorithm import Algorithm
from edge.interfaces import NodeId, Transport
from edge.transports import mqtt
from edge_sim import links
from edge_sim.emulation import Emulation, Occurrence
from edge_sim.fleet import Maker
from edge_sim.realtime import connected
from edge_sim.rounds import ReportedNode
from edge_sim.shard import Shard
from edge_sim.world import Bundles, World


@dataclass(frozen=True)
class Stage:
    """A fleet that is ready.

    place: where its messages go, for people. nodes: devices by number, then the centre if there is one. occurrences:
    all that there will be; nodes go on as it is read.
    """

    place: str
    nodes: Sequence[ReportedNode]
    occurrences: Iterator[Occurrence]


@contextmanager
def in_virtual_time(world: World, algorithm: Algorithm, bundles: Bundles, fleet: str) -> Iterator[Stage]:
    """Emulate a fleet: its nodes in this process, or on Ray's actors if the scenario says so.

    Args:
        world: what the nodes share.
        algorithm: what they run.
        bundles: what they train.
        fleet: its name in topics, whose length counts in the bytes of a message.
    """
    scenario = world.scenario
    make = Maker(world, algorithm, bundles, lingers=scenario.lossy)
    keeps = any(not absence.asleep for absence in scenario.absences)
    between = links.build(scenario, world.names, algorithm.centre)
    if scenario.on_ray:
        from edge_sim import on_ray  # only now: it is an extra

        with on_ray.cluster(world, algorithm.name, bundles, fleet, lingers=make.lingers, keeps=keeps) as cluster:
            emulation = Emulation(scenario, make.names, between, cluster, ahead=True)
            yield Stage(f"{cluster.count} actors of Ray", cluster.nodes, emulation.run())
        return
    with closing(Shard(make, fleet, scenario.workers, keeps, scenario.boards_by_device())) as shard:
        nodes = [shard.device(i) for i in range(len(make.names))]
        emulation = Emulation(scenario, make.names, between, shard, ahead=scenario.workers > 1)
        yield Stage("memory", nodes, emulation.run())


@contextmanager
def over_broker(world: World, algorithm: Algorithm, bundles: Bundles, fleet: str, url: str) -> Iterator[Stage]:
    """Connect a fleet to the broker at `url`; the other arguments are those of `in_virtual_time`.

    Raises:
        TransportError: no broker answers there.
    """
    make = Maker(world, algorithm, bundles)
    with connected(make, partial(_connect, url, fleet), world.scenario.workers) as connection:
        yield Stage(url, connection.nodes, connection.run())


def _connect(url: str, fleet: str, name: NodeId) -> Transport:
    return mqtt.create(url=url, fleet=fleet, me=name, lasting=False)
