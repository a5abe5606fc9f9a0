"""Where a device's memory goes: planned before anything runs, and measured in a fresh process, part by part.

    interpreter, numpy, runtime, package, random    as they are imported; nobody plans these
    session       the graphs, opened; nobody plans that either
    parameters    and optimizer state, twice, in buffers of the runtime
    batch         the arrays of one step
    training      activations, by liveness over the order of execution (`export.report.cost`)
    outputs       about the reference rows, as many at once as the engine takes: what that needs beyond training, whose
                  memory it uses again
    messages      two rounds of soft labels from every neighbour, as float32, and ours

The whole is predicted as what is not planned holds, and the plan of the others on top.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import BaseModel

from edge import plugins
from edge.bundle import Bundle
from edge.command import last_line
from edge.engines.onnx_runtime import BLOCK
from edge.errors import ConfigError
from edge_bench.models import opened, rows_of
from edge_report.finding import Finding, Progress, text_of
from edge_sim import meter

WORKER = Path(__file__).with_name("memory_worker.py")
Account = dict[str, Any]
"""what the worker prints"""
WORK = ("training", "outputs")
NOTICED = 1_000_000
"""Bytes below which resident memory says little: it comes in pages, and what was freed is used again."""
ROUNDS = 2
"""of messages that a device may have to say again (`edge.messaging.mailbox`)"""


class Part(BaseModel):
    """Bytes; a number a process in the lists. held: resident after it; peak: at the highest during it."""

    name: str
    planned: float | None
    held: list[float]
    peak: list[float]


class Memory(Finding):
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
    """at the end: shared pages divided by those who share them (smaps_rollup)"""
    private: list[float]
    group_bytes: int | None
    """most that the control group has used, with whatever else is in it; none where there is no group"""


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
) -> Memory:
    """Plan and measure. model: of `edge_bench.models.SHAPES`, recomputing in `segments`, or a bundle's folder.

    Raises ConfigError: a model that is not there, or a system that does not tell.
    """
    if not Path("/proc/self/smaps_rollup").exists():
        raise ConfigError("memory is measured through /proc/self/smaps_rollup, which this system has not")
    plugins.load("edge.engines", engine)
    with TemporaryDirectory() as folder:
        rows = (batch,) if engine == "tflite" else ()
        bundle = opened(model, Path(folder), rows=rows, segments=segments)
        plan = planned(bundle, batch, reference, neighbours)
        found = []
        for done in range(processes):
            progress(done, processes, f"{model}, batch {batch}")
            found.append(_run([str(bundle.path), engine, str(batch), str(reference), str(neighbours)]))
    parts = []
    for several in zip(*(one["parts"] for one in found), strict=True):  # the same part of each process
        name, held, peak = several[0]["name"], [p["held"] for p in several], [p["peak"] for p in several]
        parts.append(Part(name=name, planned=plan.get(name), held=held, peak=peak))
    return Memory(
        engine=engine,
        model=model,
        batch=batch,
        reference=reference,
        neighbours=neighbours,
        parts=parts,
        predicted=[_predicted(one, plan) for one in found],
        peak=[_peak(one) for one in found],
        proportional=[one["proportional"] for one in found],
        private=[one["private"] for one in found],
        group_bytes=_group(),
    )


def planned(bundle: Bundle, batch: int, reference: int, neighbours: int) -> dict[str, float]:
    """Bytes by part, of those that can be planned."""
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
    """What the plan is about: the peak of what works, what else is held. Bytes, median."""
    return median(part.peak if part.name in WORK else part.held)


def error(part: Part) -> float | None:
    """Of the plan, relative to what was measured; none where nothing was planned, or both are below NOTICED."""
    if part.planned is None or max(part.planned, measured(part)) < NOTICED:
        return None
    return part.planned / max(measured(part), 1.0) - 1


def _predicted(found: Account, plan: dict[str, float]) -> float:
    return float(sum(plan.get(part["name"], part["held"]) for part in found["parts"]))


def _peak(found: Account) -> float:
    """The highest over the parts, each on top of what those before it held."""
    held = highest = 0.0
    for part in found["parts"]:
        highest = max(highest, held + part["peak"])
        held += part["held"]
    return highest


def _run(words: list[str]) -> Account:
    """The worker's account. -P: not from its folder, whose modules would be found before the library's."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-P", str(WORKER), *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"memory cannot be measured: {last_line(done.stderr)}")
    found: Account = json.loads(done.stdout)
    return found


def _group() -> int | None:
    """Of version 2 (memory.peak), or 1."""
    for line in (text_of("/proc/self/cgroup") or "").splitlines():
        _, kinds, path = line.split(":", 2)
        at = {
            "": f"/sys/fs/cgroup{path}/memory.peak",
            "memory": f"/sys/fs/cgroup/memory{path}/memory.max_usage_in_bytes",
        }
        if kinds in at and (said := text_of(at[kinds])) and said.isdigit():
            return int(said)
    return None
