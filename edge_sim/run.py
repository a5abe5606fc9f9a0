"""Run a scenario: every protocol of it, on the same world, in virtual time or over a real broker."""

import secrets
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from broker import embedded
from edge import outcome
from edge.algorithm import Algorithm
from edge.interfaces import DEVICE
from edge.task import CLASSIFICATION
from edge_sim import requirements, saving
from edge_sim import world as worlds
from edge_sim.convergence import Probe
from edge_sim.emulation import NodeFinished
from edge_sim.evaluation import Evaluation
from edge_sim.fleet import EmulatedNode
from edge_sim.result import Accuracy, DeviceResult, Result, RoundResult
from edge_sim.rounds import ReportedNode, Rounds
from edge_sim.scenario import Scenario
from edge_sim.stages import Stage, in_virtual_time, over_broker
from edge_sim.world import Bundles, World


@dataclass(frozen=True)
class Frame:
    """What a watcher sees after a round.

    Attributes:
        protocol: which one runs.
        place: where its messages go, for people.
        devices: without the centre, by number.
        latest: the round that is over.
        rounds: how many there will be.
        accuracies: of each device's latest evaluation, by head; None for a device that has had none.
        metric: key of the metric that these are values of.
    """

    protocol: str
    place: str
    devices: Sequence[ReportedNode]
    latest: RoundResult
    rounds: int
    accuracies: Sequence[list[Accuracy] | None]
    metric: str = CLASSIFICATION.key


Watch = Callable[[Frame], None]


def both(one: Watch, other: Watch) -> Watch:
    """Return a watcher that calls two."""

    def watch(frame: Frame) -> None:
        one(frame)
        other(frame)

    return watch


def run(scenario: Scenario, watch: Watch = lambda _: None, save: Path | None = None) -> Result:
    """Run a scenario's protocol, then those it is compared with, on the same data.

    Ctrl-C ends it early; the result is then that of the rounds before, and says so (`Result.interrupted`).

    Args:
        scenario: what to emulate.
        watch: is called after every round.
        save: a new folder for the models of the devices, of `scenario.protocol` (`edge_sim.saving`).

    Returns:
        The result of `scenario.protocol`, with the comparison in it.

    Raises:
        ConfigError: the scenario cannot be run; the message names everything that is wrong with it.
        DataError, ExportError, BundleError: data and models do not fit.
        TransportError: there is no broker at the scenario's address.
    """
    requirements.require(scenario, "scenario")
    if save is not None:
        saving.require(scenario, save)
    algorithms = [scenario.algorithm(name) for name in scenario.protocols]
    world = worlds.build(scenario)
    results: list[Result] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="murmur-")))
        bundles = Bundles(world, folder)
        for algorithm in algorithms:  # a model that cannot be exported is refused before anything runs
            bundles.centre(algorithm)
            for i in range(min(scenario.devices, len(scenario.models))):
                bundles.device(algorithm, i)
        url = scenario.broker
        if scenario.transport == "mqtt" and url is None:
            url = stack.enter_context(embedded.running()).url
        for algorithm in algorithms:
            with _stage(world, algorithm, bundles, url) as stage:
                results.append(_collect(world, algorithm, bundles, stage, watch))
                if save is not None and algorithm.name == scenario.protocol:
                    saving.save(stage.nodes, save)
            if results[-1].interrupted:
                break
    comparison = [result.summary() for result in results] if scenario.compare else []
    return results[0].model_copy(update={"comparison": comparison, "interrupted": results[-1].interrupted})


def _stage(world: World, algorithm: Algorithm, bundles: Bundles, url: str | None) -> AbstractContextManager[Stage]:
    """A fleet that runs one of the scenario's protocols, over the broker at `url` if there is one."""
    scenario = world.scenario
    # Fleets that share a broker must not receive each other's messages. A name of the same length in memory keeps
    # the bytes equal.
    name = f"{algorithm.name}-{secrets.token_hex(3) if url else '0' * 6}"
    if scenario.fleet:
        name = scenario.fleet if algorithm.name == scenario.protocol else f"{scenario.fleet}-{algorithm.name}"
    if url:
        return over_broker(world, algorithm, bundles, name, url)
    return in_virtual_time(world, algorithm, bundles, name)


def _collect(world: World, algorithm: Algorithm, bundles: Bundles, stage: Stage, watch: Watch) -> Result:
    """Run all rounds of one protocol, and summarise them."""
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
                key = world.dataset.task.key
                watch(Frame(algorithm.name, stage.place, members, latest, scenario.rounds, accuracies, key))
    except KeyboardInterrupt:
        interrupted = True
    result = _result(world, algorithm, bundles, rounds, kept)
    return result.model_copy(update={"interrupted": interrupted, "seconds": time.monotonic() - started})


def _result(world: World, algorithm: Algorithm, bundles: Bundles, rounds: Rounds, kept: list[RoundResult]) -> Result:
    """Summarise a run of so many rounds."""
    scenario, nodes = world.scenario, rounds.nodes
    members = [one for one in nodes if one.role == DEVICE]
    devices = [_judged(world, rounds, i) for i in range(len(members))]
    honest = [device for one, device in zip(members, devices, strict=True) if one.honest]
    return Result(
        scenario=scenario.model_dump(mode="json"),
        protocol=algorithm.name,
        metric=world.dataset.task.metric,
        scores=rounds.mean_scores,
        parameters=max(bundles.device(algorithm, i).manifest.size for i in range(len(scenario.models))),
        spectral_gap=world.spectral_gap,
        devices=devices,
        centre=rounds.device(len(members)) if len(nodes) > len(members) else None,
        mean_accuracy=float(np.mean([d.accuracy_all for d in honest])),
        worst_accuracy=min(d.accuracy_all for d in honest),
        payload_bytes_total=rounds.payload_bytes,
        rounds=kept,
        counts=rounds.counts,
        virtual_seconds=kept[-1].virtual_seconds if kept else None,
        seconds=0.0,
        notes=list(world.notes),
    )


def _judged(world: World, rounds: Rounds, index: int) -> DeviceResult:
    """A device, and whether it has learnt anything; a Byzantine one need not."""
    device, losses = rounds.device(index), rounds.losses.get(index, [])
    if not rounds.nodes[index].honest or index not in rounds.evaluations:
        return device
    dataset = world.dataset
    verdict = outcome.judge(device.accuracy_all, dataset.y_test, dataset.classes, losses)
    return device.model_copy(update={"outcome": verdict})
