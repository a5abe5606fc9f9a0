"""All protocols on one job, on equal terms: what they reach, and what that costs."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import onnx
from pydantic import BaseModel

from edge.errors import ConfigError
from edge.protocols import PROTOCOLS
from edge_report.finding import Finding, Progress, mean
from edge_sim import jobs, meter
from edge_sim import world as worlds
from edge_sim.result import Result
from edge_sim.scenario import Scenario
from export.report.show import distillation_macs

Goal = Literal["accuracy_all", "accuracy_own"]

SUITED: dict[str, dict[str, Any]] = {
    "compressed-federated-distillation": {"up_bits": 8, "down_bits": 8, "dual": False, "distillation_weight": 3.0},
}
"""settings other than the defaults, where those are known to do badly; the table shows them"""


ROWS = 32
OBSERVED = ("macs", *(f"memory/{part}" for part in meter.PARTS))
BOUNDS = ("isolated", "pooled")
"""a protocol that sends nothing, and one that gives the data away: to compare with, not to choose from"""


class Moment(BaseModel):
    """After a round; means over the seeds. bytes: payload, a device, so far."""

    round: int
    accuracy_all: float
    consensus_distance: float | None
    payload_bytes: float


class LayerWork(BaseModel):
    """Multiply-accumulates of one training step, by phase, of all nodes that serve one parameter."""

    name: str
    macs: dict[str, int]


class ProtocolRow(BaseModel):
    """One protocol; means over the seeds, but for the accuracies, which are there by seed too.

    bytes and messages: a device, the centre's divided among them. macs: of all that one device computed.
    memory: bytes its largest step needs by plan, by part (`edge_sim.meter`); without the runtime.
    pareto: no other protocol reaches as much accuracy on all classes with as few bytes, BOUNDS aside.
    """

    protocol: str
    settings: dict[str, Any]
    accuracy_all: float
    accuracy_worst: float
    accuracy_own: float
    by_seed: list[float]
    payload_bytes: float
    wire_bytes: float
    messages: float
    macs: float
    memory: dict[str, float]
    curve: list[Moment] = []
    pareto: bool


class Comparison(Finding):
    """All protocols, and the job they did.

    Attributes:
        left_out: protocol -> why it could not take part.
        edges: of the devices' graph, by the first seed.
        dearest: the protocol with the most work.
        layers: of a step of it, with ROWS private rows and as many of the reference set.
        distillation_macs: of those, what serves the reference rows.
    """

    command: str = "protocols"
    scenario: dict[str, Any]
    seeds: list[int]
    lines: list[ProtocolRow]
    left_out: dict[str, str]
    edges: list[tuple[str, str]]
    dearest: str
    layers: list[LayerWork]
    distillation_macs: int


def compare(
    base: dict[str, Any],
    seeds: Sequence[int],
    *,
    names: Sequence[str] = (),
    local: dict[str, Any],
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Run protocols on one scenario.

    Args:
        base: keys of the scenario.
        seeds: one emulation for each.
        names: of protocols; all that fit the scenario if empty.
        local: settings of local training, the same for all.
        workers: processes at a time.
        progress: called after each emulation.

    Raises:
        ConfigError: an unknown protocol or an impossible scenario; before anything runs.
    """
    left_out: dict[str, str] = {}
    todo = []
    chosen = {name: {**local, **SUITED.get(name, {})} for name in names or PROTOCOLS.names()}
    for name, settings in chosen.items():
        scenario = {**base, "protocol": name, "settings": {name: settings}}
        try:
            Scenario(**scenario).algorithm(name)
        except ConfigError as reason:
            if names:
                raise
            left_out[name] = str(reason)
            continue
        todo += [jobs.Job(name, seed, scenario, OBSERVED) for seed in seeds]
    outcomes: dict[tuple[str, int], jobs.JobOutcome] = {}
    for done, outcome in enumerate(jobs.perform_all(todo, workers), start=1):
        outcomes[outcome.job.name, outcome.job.seed] = outcome
        progress(done, len(todo), outcome.job.name)
    lines = [
        _line(name, settings, [outcomes[name, seed] for seed in seeds])
        for name, settings in chosen.items()
        if name not in left_out
    ]
    dearest = max(lines, key=lambda line: line.macs).protocol
    world = worlds.build(Scenario(**base, seed=seeds[0]))
    layers, macs = _layers(world, dearest)
    return Comparison(
        scenario=base,
        seeds=list(seeds),
        lines=[line.model_copy(update={"pareto": optimal(line, lines)}) for line in lines],
        left_out=left_out,
        edges=list(world.topology.edges),
        dearest=dearest,
        layers=layers,
        distillation_macs=macs,
    )


def optimal(line: ProtocolRow, lines: Sequence[ProtocolRow]) -> bool:
    """Say whether no other is at least as accurate with at most as many bytes, and better in one of the two.

    BOUNDS are neither optimal nor competitors.
    """
    return line.protocol not in BOUNDS and not any(
        other.accuracy_all >= line.accuracy_all
        and other.payload_bytes <= line.payload_bytes
        and (other.accuracy_all, other.payload_bytes) != (line.accuracy_all, line.payload_bytes)
        for other in lines
        if other.protocol not in BOUNDS
    )


def _line(name: str, settings: dict[str, Any], outcomes: Sequence[jobs.JobOutcome]) -> ProtocolRow:
    results = [o.result for o in outcomes]
    summaries = [r.summary() for r in results]
    wire = [sum(d.wire_bytes_sent for d in [*r.devices, *([r.centre] if r.centre else [])]) for r in results]
    return ProtocolRow(
        protocol=name,
        settings=settings,
        accuracy_all=mean([s.mean_accuracy for s in summaries]),
        accuracy_worst=mean([s.worst_accuracy for s in summaries]),
        accuracy_own=mean([s.mean_accuracy_own for s in summaries]),
        by_seed=[s.mean_accuracy for s in summaries],
        payload_bytes=mean([s.payload_bytes_per_device for s in summaries]),
        wire_bytes=mean([w / len(r.devices) for w, r in zip(wire, results, strict=True)]),
        messages=mean([s.messages_per_device for s in summaries]),
        macs=mean([o.observed["macs"][-1] for o in outcomes]),
        memory={part: mean([o.observed[f"memory/{part}"][-1] for o in outcomes]) for part in meter.PARTS},
        curve=_curve(results),
        pareto=False,
    )


def _curve(results: Sequence[Result]) -> list[Moment]:
    """Average the rounds in which all seeds were evaluated."""
    moments = []
    for rounds in zip(*(r.rounds for r in results), strict=True):
        accuracies = [r.accuracy_all for r in rounds if r.accuracy_all is not None]
        apart = [r.consensus_distance for r in rounds if r.consensus_distance is not None]
        if len(accuracies) == len(rounds):
            payload = [r.payload_bytes_total / len(whole.devices) for r, whole in zip(rounds, results, strict=True)]
            moments.append(
                Moment(
                    round=rounds[0].round,
                    accuracy_all=mean(accuracies),
                    consensus_distance=mean(apart) if len(apart) == len(rounds) else None,
                    payload_bytes=mean(payload),
                )
            )
    return moments


def _layers(world: worlds.World, name: str) -> tuple[list[LayerWork], int]:
    """Return (layers of the first device's model under a protocol's objective, the work that serves reference rows)."""
    with TemporaryDirectory() as folder:
        bundle = worlds.Bundles(world, Path(folder)).device(world.scenario.algorithm(name), 0)
        by_layer: dict[str, Counter[str]] = {}
        for layer in meter.layers(bundle, ROWS, ROWS):
            by_layer.setdefault(layer.name.removeprefix("model/"), Counter())[layer.phase] += layer.macs
        distilled = distillation_macs(bundle, onnx.load(bundle.path / "train.onnx"), ROWS)
    return [LayerWork(name=layer, macs=dict(macs)) for layer, macs in by_layer.items()], distilled
