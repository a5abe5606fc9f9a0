"""Run a scenario: every protocol of it, on the same world, in virtual time or over a real broker."""

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker import embedded
from edge import node
from edge.algorithm import Algorithm
from edge.interfaces import DEVICE
from edge_sim import fleet as fleets
from edge_sim import links
from edge_sim import world as worlds
from edge_sim.convergence import Probe
from edge_sim.events import Closed, Emulation, Finished, Happening
from edge_sim.fleet import Device, Maker
from edge_sim.network import over_mqtt
from edge_sim.result import Accuracy, Result, RoundResult
from edge_sim.rounds import Node, Rounds
from edge_sim.scenario import Scenario
from edge_sim.shard import Exam, Shard, examine
from edge_sim.world import Bundles, World


@dataclass(frozen=True)
class Frame:
    """What a watcher sees after a round.

    accuracies: of the latest exam, per device and head; None of who has had none.
    """

    protocol: str
    place: str
    """where the messages go, for people"""
    devices: Sequence[Node]
    latest: RoundResult
    rounds: int
    accuracies: Sequence[list[Accuracy] | None]


Watch = Callable[[Frame], None]


def both(one: Watch, other: Watch) -> Watch:
    """A watcher that is two."""

    def watch(frame: Frame) -> None:
        one(frame)
        other(frame)

    return watch


@dataclass(frozen=True)
class _Stage:
    """A fleet that is ready. happenings: all that there will be."""

    place: str
    nodes: Sequence[Node]
    happenings: Iterator[Happening]


def run(scenario: Scenario, watch: Watch = lambda _: None) -> Result:
    """Run `scenario.protocol`, then those it is compared with; the comparison is in the result.

    Ctrl-C ends it early: the result is then of what there was, and says so (`interrupted`).

    Raises:
        MurmurError: anything that does not fit, before the first round; a broker that is not there.
    """
    algorithms = [scenario.algorithm(name) for name in scenario.protocols]  # refused before anything is loaded
    world = worlds.build(scenario)
    results: list[Result] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="murmur-")))
        bundles = Bundles(world, folder)
        for algorithm in algorithms:  # what cannot be exported is said before anything runs
            bundles.centre(algorithm)
            for i in range(min(scenario.devices, len(scenario.models))):
                bundles.device(algorithm, i)
        url = scenario.broker
        if scenario.transport == "mqtt" and url is None:
            url = stack.enter_context(embedded.running()).url
        for algorithm in algorithms:
            # Runs that share a broker must not hear one another; as long in memory, so that bytes are equal.
            fleet = f"{algorithm.name}-{secrets.token_hex(3) if url else '0' * 6}"
            if scenario.fleet:
                fleet = scenario.fleet if algorithm is algorithms[0] else f"{scenario.fleet}-{algorithm.name}"
            staged = _real(world, algorithm, bundles, fleet, url) if url else _virtual(world, algorithm, bundles, fleet)
            with staged as stage:
                results.append(_play(world, algorithm, bundles, stage, watch))
            if results[-1].interrupted:
                break
    main = results[0]
    return main.model_copy(
        update={
            "comparison": [r.summary() for r in results] if scenario.compare else [],
            "interrupted": results[-1].interrupted,
        }
    )


@contextmanager
def _virtual(world: World, algorithm: Algorithm, bundles: Bundles, fleet: str) -> Iterator[_Stage]:
    """In memory, as events; in this process, or on Ray's."""
    scenario = world.scenario
    make = Maker(world, algorithm, bundles, farewell=scenario.lossy)
    keeps = any(not absence.asleep for absence in scenario.absences)
    between = links.build(scenario, world.names, algorithm.centre)
    if scenario.on_ray:
        from edge_sim import on_ray  # only now: it is an extra

        with on_ray.cluster(world, algorithm.name, bundles, fleet, farewell=make.farewell, keeps=keeps) as cluster:
            emulation = Emulation(scenario, make.names, between, cluster, ahead=True)
            yield _Stage(f"{cluster.count} actors of Ray", cluster.nodes, emulation.play())
        return
    with closing(Shard(make, fleet, scenario.workers, keeps, scenario.boards_by_device())) as shard:
        nodes = [shard.device(i) for i in range(len(make.names))]
        emulation = Emulation(scenario, make.names, between, shard, ahead=scenario.workers > 1)
        yield _Stage("memory", nodes, emulation.play())


@contextmanager
def _real(world: World, algorithm: Algorithm, bundles: Bundles, fleet: str, url: str) -> Iterator[_Stage]:
    """Over a broker, in step."""
    scenario = world.scenario
    with over_mqtt(fleet, url, time.monotonic) as network:
        nodes = list(fleets.devices(world, algorithm, bundles, network))
        centre = next((one for one in nodes if one.role != DEVICE), None)

        def happenings() -> Iterator[Happening]:
            for number, _ in enumerate(fleets.play(nodes, network, scenario.workers), start=1):
                yield from (Finished(i, dict(one.row)) for i, one in enumerate(nodes))
                if scenario.evaluated(number):
                    for i, device in enumerate(nodes[: scenario.devices]):
                        yield (exam := examine(i, device, centre, world))
                        device.row["accuracy_all"] = exam.accuracies[-1][0] if exam.accuracies else 0.0
                for one in nodes:
                    one.transport.report({**one.row, **node.telemetry(one.traffic, one.counts)})
                yield Closed(number, 0.0, sum(one.traffic.payload_bytes_sent for one in nodes))

        yield _Stage(network.place, nodes, happenings())


def _play(world: World, algorithm: Algorithm, bundles: Bundles, stage: _Stage, watch: Watch) -> Result:
    """All rounds of one protocol."""
    scenario, nodes = world.scenario, stage.nodes
    members = [one for one in nodes if one.role == DEVICE]
    probe = Probe(world, algorithm, bundles.folder) if scenario.convergence else None
    rounds, kept = Rounds(nodes, scenario.timed), list[RoundResult]()
    started = lap = time.monotonic()
    interrupted = False
    try:
        for happening in stage.happenings:
            if isinstance(happening, Finished):
                rounds.finished(happening.index, happening.row)
            elif isinstance(happening, Exam):
                rounds.examined(happening)
            else:
                lap, before = time.monotonic(), lap
                if (latest := rounds.close(happening, lap - before)) is None:
                    continue
                kept.append(latest)
                if probe and latest.round % scenario.convergence == 0:
                    latest.metrics.update(probe.measure([one for one in members if isinstance(one, Device)]))
                exams = [rounds.exams.get(i) for i in range(len(members))]
                watch(Frame(algorithm.name, stage.place, members, latest, scenario.rounds, exams))
    except KeyboardInterrupt:
        interrupted = True
    found = [rounds.device(i) for i in range(len(members))]
    honest = [device for one, device in zip(members, found, strict=True) if one.honest]
    return Result(
        scenario=scenario.model_dump(mode="json"),
        protocol=algorithm.name,
        parameters=max(bundles.device(algorithm, i).manifest.size for i in range(len(scenario.models))),
        spectral_gap=world.spectral_gap,
        devices=found,
        centre=rounds.device(len(members)) if len(nodes) > len(members) else None,
        mean_accuracy=float(np.mean([d.accuracy_all for d in honest])),
        worst_accuracy=min(d.accuracy_all for d in honest),
        payload_bytes_total=rounds.payload_bytes,
        rounds=kept,
        counts=rounds.counts,
        virtual_seconds=kept[-1].virtual_seconds if kept else None,
        interrupted=interrupted,
        seconds=time.monotonic() - started,
    )
