"""What a measurement leaves behind. The names are those of the JSON files and stay."""

import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from edge import plugins
from edge.errors import ConfigError
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
    memory_bytes: int | None = None
    system: str = ""
    governor: str | None = None
    """of the processor's clock; none, if the machine does not tell"""
    packages: dict[str, str]
    commit: str | None


def environment() -> Environment:
    """This machine, now."""
    return Environment(
        python=platform.python_version(),
        machine=platform.machine(),
        cpu=_cpu(),
        cores=cores(),
        memory_bytes=_memory(),
        system=f"{platform.system()} {platform.release()}",
        governor=text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        packages={name: found for name in PACKAGES if (found := _version(name))},
        commit=_commit(),
    )


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Finding(BaseModel):
    """What every command of `edge-bench` leaves. command: its name, by which `read` knows what else is there."""

    schema_version: Literal[1] = 1
    command: str
    environment: Environment = Field(default_factory=environment)


def loaded(path: Path) -> Any:
    """What a JSON file holds. Raises ConfigError."""
    try:
        return json.loads(path.read_text())
    except OSError as reason:
        raise ConfigError(f"cannot read {path}: {reason.strerror}") from None
    except ValueError as reason:
        raise ConfigError(f"{path} is not JSON ({reason}); expected what an edge-bench command wrote") from None


def read(path: Path) -> Finding:
    """A finding that was written as JSON. Raises ConfigError: not there, or not that."""
    return parsed(loaded(path), str(path))


def parsed(found: object, path: str) -> Finding:
    """A finding of the command that it names. path: where it is from, for errors."""
    name = found.get("command") if isinstance(found, dict) else None
    if not isinstance(name, str) or name not in plugins.names("edge.bench.commands"):
        raise ConfigError(f"{path} does not say which edge-bench command wrote it (its key 'command' is {name!r})")
    kind: type[Finding] = plugins.load("edge.bench.commands", name).FINDING
    try:
        return kind.model_validate(found)
    except ValidationError as reason:
        first = reason.errors()[0]
        where = "/".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']}; expected what edge-bench {name} writes now") from None


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


class Report(Finding):
    """A table of claims, and the runs it was read from."""

    command: str = "reproduce"
    data: str
    seeds: list[int]
    rows: list[Row]
    runs: list[Run]
    seconds: float


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
    lines = (text_of("/proc/cpuinfo") or "").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def text_of(path: str) -> str | None:
    """What a file of /sys or /proc says; none, if it is not there or empty."""
    try:
        return Path(path).read_text().strip() or None
    except OSError:
        return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


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
