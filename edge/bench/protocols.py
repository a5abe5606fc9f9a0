"""All protocols on one job, on equal terms: what they reach, and what that costs."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel

from edge import plugins
from edge.bench import jobs
from edge.bench.record import Environment, Progress, environment, mean
from edge.errors import ConfigError
from edge.sim.scenario import Scenario

Goal = Literal["accuracy_all", "accuracy_own"]

SUITED: dict[str, dict[str, Any]] = {
    "d-distillation": {"pull": 10.0, "reference_batch": 128},
    "compressed-federated-distillation": {"up_bits": 8, "down_bits": 8, "dual": False, "pull": 3.0},
}
"""Settings other than the defaults, where those are known to do badly; the table says so."""


BOUNDS = ("isolated", "pooled")
"""What says nothing, and what gives the data away: to compare with, not to choose from."""


class Line(BaseModel):
    """One protocol; means over the seeds, but for the accuracies, which are there by seed too.

    bytes and messages: a device, the centre's divided among them. macs: of all that one device computed.
    memory: bytes its largest step needs by plan, parameters and protocol state included; without the runtime.
    pareto: nobody else reaches as much accuracy on all classes with as few bytes, the bounds aside.
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
    memory: float
    pareto: bool


class Comparison(BaseModel):
    """All of them, and the job they did."""

    environment: Environment
    scenario: dict[str, Any]
    seeds: list[int]
    lines: list[Line]
    left_out: dict[str, str]
    """protocol -> why it could not take part"""


def compare(
    base: dict[str, Any],
    seeds: Sequence[int],
    *,
    names: Sequence[str] = (),
    local: dict[str, Any],
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Comparison:
    """Run `names`, or all protocols that fit, on the scenario `base`.

    local: the settings of local training, the same for all.
    Raises ConfigError for an unknown protocol or an impossible scenario, before anything runs.
    """
    left_out: dict[str, str] = {}
    todo = []
    chosen = {name: {**local, **SUITED.get(name, {})} for name in names or plugins.names("edge.protocols")}
    for name, settings in chosen.items():
        scenario = {**base, "protocol": name, "settings": {name: settings}}
        try:
            Scenario(**scenario).algorithm(name)
        except ConfigError as reason:
            if names:
                raise
            left_out[name] = str(reason)
            continue
        todo += [jobs.Job(name, seed, scenario, ("macs", "memory")) for seed in seeds]
    outcomes: dict[tuple[str, int], jobs.Outcome] = {}
    for done, outcome in enumerate(jobs.perform_all(todo, workers), start=1):
        outcomes[outcome.job.name, outcome.job.seed] = outcome
        progress(done, len(todo), outcome.job.name)
    lines = [
        _line(name, settings, [outcomes[name, seed] for seed in seeds])
        for name, settings in chosen.items()
        if name not in left_out
    ]
    return Comparison(
        environment=environment(),
        scenario=base,
        seeds=list(seeds),
        lines=[line.model_copy(update={"pareto": optimal(line, lines)}) for line in lines],
        left_out=left_out,
    )


def optimal(line: Line, lines: Sequence[Line]) -> bool:
    """Whether nobody is at least as accurate with at most as many bytes, and better in one of them; bounds aside."""
    return line.protocol not in BOUNDS and not any(
        other.accuracy_all >= line.accuracy_all
        and other.payload_bytes <= line.payload_bytes
        and (other.accuracy_all, other.payload_bytes) != (line.accuracy_all, line.payload_bytes)
        for other in lines
        if other.protocol not in BOUNDS
    )


def _line(name: str, settings: dict[str, Any], outcomes: Sequence[jobs.Outcome]) -> Line:
    results = [o.result for o in outcomes]
    summaries = [r.summary() for r in results]
    wire = [sum(d.wire_bytes_sent for d in [*r.devices, *([r.centre] if r.centre else [])]) for r in results]
    return Line(
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
        memory=mean([o.observed["memory"][-1] for o in outcomes]),
        pareto=False,
    )
