"""What a measurement leaves behind. The names are those of the JSON files and stay."""

import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel

from edge.sim.result import Result

Verdict = Literal["holds", "fails"]
Progress = Callable[[int, int, str], None]
"""told how many of how many are done, and what comes"""
PACKAGES = ("murmur-edge", "numpy", "onnx", "onnxruntime", "scikit-learn")


class Environment(BaseModel):
    """Where it was measured."""

    python: str
    machine: str
    cpu: str
    cores: int
    packages: dict[str, str]
    commit: str | None


class Run(BaseModel):
    """One setting over all seeds, a list entry each. Accuracies as in `edge.sim.result`."""

    system: str
    name: str
    protocol: str
    mean_accuracy: list[float]
    worst_accuracy: list[float]
    own_accuracy: list[float]
    payload_bytes_per_device: list[float]
    seconds: list[float]
    plotted: bool = True


class Row(BaseModel):
    """One claim. figures: what the verdict was read from, by name."""

    claim: str
    statement: str
    paper: str
    ours: str
    verdict: Verdict
    figures: dict[str, float | list[float]] = {}


class Report(BaseModel):
    """A table of claims, and the runs it was read from."""

    environment: Environment
    data: str
    seeds: list[int]
    rows: list[Row]
    runs: list[Run]
    seconds: float


def environment() -> Environment:
    """This machine, now."""
    return Environment(
        python=platform.python_version(),
        machine=platform.machine(),
        cpu=_cpu(),
        cores=len(_affinity()),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        commit=_commit(),
    )


def summary(system: str, name: str, results: list[Result], plotted: bool = True) -> Run:
    """The same setting over the seeds."""
    lines = [r.summary() for r in results]
    return Run(
        system=system,
        name=name,
        protocol=results[0].protocol,
        mean_accuracy=[x.mean_accuracy for x in lines],
        worst_accuracy=[x.worst_accuracy for x in lines],
        own_accuracy=[x.mean_accuracy_own for x in lines],
        payload_bytes_per_device=[x.payload_bytes_per_device for x in lines],
        seconds=[x.seconds for x in lines],
        plotted=plotted,
    )


def mean(values: list[float]) -> float:
    """Over seeds."""
    return float(np.mean(values))


def spread(values: list[float], digits: int = 3) -> str:
    """The mean, and the smallest and largest where they differ: ".912 (.905-.920)"."""
    low, middle, high = min(values), mean(values), max(values)
    text = f"{middle:.{digits}f}"
    return text if high - low < 10**-digits else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def _affinity() -> set[int]:
    import os

    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The repository's, if this is one."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
