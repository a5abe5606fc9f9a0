"""Where a device's memory goes: planned before anything runs, and measured in a fresh process, part by part.

    interpreter, numpy, runtime, package, random    as they are imported; not planned
    session       the graphs, opened; not planned either
    parameters    and optimizer state, twice, in buffers of the runtime
    batch         the arrays of one step
    training      activations, by liveness over the order of execution (`export.report.cost`)
    outputs       of the reference rows, as many at once as the engine takes: what they need beyond training, whose
                  memory they use again
    messages      two rounds of soft labels from every neighbour, as float32, and ours

The whole is predicted as the sum of what the parts that are not planned hold, and of the plan of the others.
"""

from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from edge.bundle import Bundle
from edge.engines import ENGINES
from edge.engines.onnx_runtime import BLOCK
from edge.errors import ConfigError
from edge_bench import worker
from edge_bench.models import opened, rows_of
from edge_report.finding import Finding, Progress, text_of
from edge_sim import meter

WORKER = Path(__file__).with_name("memory_worker.py")
Account = dict[str, Any]
"""what the worker prints"""
WORK = ("training", "outputs")
NOTICED = 1_000_000
"""bytes below which resident memory means little: it comes in pages, and freed pages are used again"""
ROUNDS = 2
"""of messages that a device may have to send again (`edge.messaging`)"""


class Part(BaseModel):
    """Bytes; a number a process in the lists. held: resident after it; peak: at the highest during it."""

    name: str
    planned: float | None
    held: list[float]
    peak: list[float]


class MemoryUse(Finding):
    """One model and batch. Bytes; lists have a number a process."""

    command: str = "memory"
    engine: str
    model: str
    batch: int
    reference: int
    neighbours: int
    parts: list[Part]
    predicted: list[float]
    peak: list[float]
    proportional: list[float]
    """at the end: shared pages divided among those who share them (smaps_rollup)"""
    private: list[float]
    group_bytes: int | None
    """the most that the control group has used, with whatever else is in it; none where there is no group"""


def measure(
    model: str,
    *,
    engine: str = "onnx-runtime",
    batch: int,
    reference: int,
    neighbours: int,
    segments: int = 1,
    processes: int,
    progress: Progress = lambda *_: None,
) -> MemoryUse:
    """Plan a device's memory, and measure it in fresh processes.

    Args:
        model: of `edge_bench.models.SHAPES`, or the folder of a bundle.
        engine: what runs the step.
        batch: rows of a step.
        reference: rows of a message.
        neighbours: devices that send one each round.
        segments: of one of SHAPES, that recomputes its activations in so many.
        processes: how often it is measured.
        progress: called after each.

    Raises:
        ConfigError: a model that is not there, or a system without smaps_rollup.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise ConfigError("memory is measured through /proc/self/smaps_rollup, which this system does not have")
    ENGINES.load(engine)
    with TemporaryDirectory() as folder:
        bundle = opened(model, Path(folder), engine, [batch], segments=segments)
        plan = planned(bundle, batch, reference, neighbours)
        accounts: list[Account] = []
        for done in range(processes):
            progress(done, processes, f"{model}, batch {batch}")
            accounts.append(worker.script(WORKER, bundle.path, engine, batch, reference, neighbours))
    parts = []
    for several in zip(*(one["parts"] for one in accounts), strict=True):  # the same part of each process
        name, held, peak = several[0]["name"], [p["held"] for p in several], [p["peak"] for p in several]
        parts.append(Part(name=name, planned=plan.get(name), held=held, peak=peak))
    return MemoryUse(
        engine=engine,
        model=model,
        batch=batch,
        reference=reference,
        neighbours=neighbours,
        parts=parts,
        predicted=[_predicted(one, plan) for one in accounts],
        peak=[_peak(one) for one in accounts],
        proportional=[one["proportional"] for one in accounts],
        private=[one["private"] for one in accounts],
        group_bytes=_group(),
    )


def planned(bundle: Bundle, batch: int, reference: int, neighbours: int) -> dict[str, float]:
    """Plan the bytes of each part that can be planned."""
    step = meter.planned(bundle, *rows_of(bundle, batch))
    table = 4.0 * reference * bundle.manifest.classes
    return {
        "parameters": step["parameters"] + step["optimizer"],
        "batch": step["batch"],
        "training": step["activations"],
        "outputs": max(0.0, meter.outputs(bundle, min(reference, BLOCK)) - step["activations"]),
        "messages": ROUNDS * table * (1 + neighbours),
    }


def measured(part: Part) -> float:
    """Return the measured bytes that the plan of a part is about: its peak if it is WORK, else what it holds."""
    return median(part.peak if part.name in WORK else part.held)


def error(part: Part) -> float | None:
    """Return the plan's error relative to the measurement; none if there is no plan, or both are below NOTICED."""
    if part.planned is None or max(part.planned, measured(part)) < NOTICED:
        return None
    return part.planned / max(measured(part), 1.0) - 1


def _predicted(account: Account, plan: dict[str, float]) -> float:
    return float(sum(plan.get(part["name"], part["held"]) for part in account["parts"]))


def _peak(account: Account) -> float:
    """The highest over the parts, each on top of what those before it held."""
    held = highest = 0.0
    for part in account["parts"]:
        highest = max(highest, held + part["peak"])
        held += part["held"]
    return highest


def _group() -> int | None:
    """Return the peak of the control group, of version 2 (memory.peak) or 1."""
    for line in (text_of("/proc/self/cgroup") or "").splitlines():
        _, kinds, path = line.split(":", 2)
        at = {
            "": f"/sys/fs/cgroup{path}/memory.peak",
            "memory": f"/sys/fs/cgroup/memory{path}/memory.max_usage_in_bytes",
        }
        if kinds in at and (digits := text_of(at[kinds])) and digits.isdigit():
            return int(digits)
    return None
