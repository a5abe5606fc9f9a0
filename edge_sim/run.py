"""Run a scenario: every protocol of it, on the same world, in virtual time or over a real broker."""

import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker import embedded
from edge.algorithm import Algorithm
from edge.interfaces import DEVICE
from edge_sim import requirements
from edge_sim import world as worlds
from edge_sim.convergence import Probe
from edge_sim.emulation import NodeFinished
from edge_sim.evaluation import Evaluation
from edge_sim.fleet import EmulatedNode
from edge_sim.result import Accuracy, Result, RoundResult
from edge_sim.rounds import Node, Rounds
from edge_sim.scenario import Scenario
from edge_sim.stages import Stage, in_virtual_time, over_broker
from edge_sim.world import Bundles, World


@dataclass(frozen=True)
class Frame:
    """What a watcher sees after a round.

    accuracies: of the latest evaluation, per device and head; None for a device that has had none.
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


def run(scenario: Scenario, watch: Watch = lambda _: None) -> Result:
    """Run `scenario.protocol`, then those it is compared with; the comparison is in the result.

    Ctrl-C ends it early: the result is then of what there was, and says so (`interrupted`).

    Raises:
        MurmurError: anything that does not fit, before the first round; a broker that is not there.
    """
    requirements.require(scenario, "scenario")
    algorithms = [scenario.algorithm(name) for name in scenario.protocols]
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
            with (
                over_broker(world, algorithm, bundles, fleet, url)
                if url
                else in_virtual_time(world, algorithm, bundles, fleet)
            ) as stage:
                results.append(_collect(world, algorithm, bundles, stage, watch))
            if results[-1].interrupted:
                break
    main = results[0]
    return main.model_copy(
        update={
            "comparison": [r.summary() for r in results] if scenario.compare else [],
            "interrupted": results[-1].interrupted,
        }
    )


def _collect(world: World, algorithm: Algorithm, bundles: Bundles, stage: Stage, watch: Watch) -> Result:
    """All rounds of one protocol."""
    scenario, nodes = world.scenario, stage.nodes
    members = [one for one in nodes if one.role == DEVICE]
    probe = Probe(world, algorithm, bundles.folder) if scenario.convergence else None
    rounds, kept = Rounds(nodes, scenario.timed), list[RoundResult]()
    started = lap = time.monotonic()
    interrupted = False
    try:
        for occurrence in stage.occurrences:
            if isinstance(occurrence, NodeFinished):
                rounds.finished(occurrence.index, occurrence.row)
            elif isinstance(occurrence, Evaluation):
                rounds.evaluated(occurrence)
            else:
                lap, before = time.monotonic(), lap
                if (latest := rounds.close(occurrence, lap - before)) is None:
                    continue
                kept.append(latest)
                if probe and latest.round % scenario.convergence == 0:
                    latest.metrics.update(probe.measure([one for one in members if isinstance(one, EmulatedNode)]))
                accuracies = [rounds.evaluations.get(i) for i in range(len(members))]
                watch(Frame(algorithm.name, stage.place, members, latest, scenario.rounds, accuracies))
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
