"""What every measurement leaves behind: the command and its environment. The names are those of the JSON files."""

import json
import os
import platform
import subprocess
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, Field

from edge.errors import ConfigError

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
    """What every command of `edge-bench` leaves.

    command: its name, by which `edge_bench.record.read` knows what else is there.
    """

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
