"""What every measurement leaves: the command, its environment, its numbers. The names are those of the JSON files."""

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
"""called with how many of how many are done, and what comes next"""
PACKAGES = ("murmur-edge", "numpy", "onnx", "onnxruntime", "scikit-learn")


class Environment(BaseModel):
    """Where something was measured. governor: of the processor's clock, if the machine reports it."""

    python: str
    machine: str
    cpu: str
    cores: int
    memory_bytes: int | None = None
    system: str = ""
    governor: str | None = None
    packages: dict[str, str]
    commit: str | None


def environment() -> Environment:
    """Describe this machine, now."""
    return Environment(
        python=platform.python_version(),
        machine=platform.machine(),
        cpu=_cpu(),
        cores=cores(),
        memory_bytes=_memory(),
        system=f"{platform.system()} {platform.release()}",
        governor=text_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        packages={name: installed for name in PACKAGES if (installed := _version(name))},
        commit=_commit(),
    )


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Finding(BaseModel):
    """The result of a measurement; each command of `edge-bench` adds its own fields.

    Attributes:
        schema_version: of the JSON files.
        command: its name, by which `edge_bench.record.read` knows what else is there.
        environment: where it was measured.

    >>> Finding(command="wire").model_dump()["command"]
    'wire'
    """

    schema_version: Literal[1] = 1
    command: str
    environment: Environment = Field(default_factory=environment)


def loaded(path: Path) -> Any:
    """Read a JSON file. Raises ConfigError: it cannot be read, or is not JSON."""
    try:
        return json.loads(path.read_text())
    except OSError as reason:
        raise ConfigError(f"cannot read {path}: {reason.strerror}") from None
    except ValueError as reason:
        raise ConfigError(f"{path} is not JSON ({reason}); expected what an edge-bench command wrote") from None


def mean(values: list[float]) -> float:
    """Return the mean."""
    return float(np.mean(values))


def spread(values: list[float], digits: int = 3) -> str:
    """Format the mean, and the smallest and largest value where they differ.

    >>> spread([0.5, 0.6]), spread([0.5, 0.5])
    ('0.550 (0.500 to 0.600)', '0.500')
    """
    low, middle, high = min(values), mean(values), max(values)
    text = f"{middle:.{digits}f}"
    return text if high - low < 10**-digits else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def _cpu() -> str:
    lines = (text_of("/proc/cpuinfo") or "").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def text_of(path: str) -> str | None:
    """Read a file of /sys or /proc; none if it is not there or empty."""
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
    """Return the commit of the repository, if this is one."""
    here = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
