"""What Linux says about this process, and the environment that keeps a child process to one thread."""

import os
from collections.abc import Mapping
from pathlib import Path

THREAD_POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables by which numeric libraries size their thread pools. They are read when a library loads."""


def memory(key: str, root: Path = Path("/")) -> int:
    """One line of /proc/self/status, in bytes.

    Args:
        key: "VmRSS", resident now, or "VmHWM", resident at the highest. Unlike `resource.ru_maxrss`, VmHWM is not
            inherited from the parent process.
        root: where /proc is.

    Returns:
        Bytes.

    Raises:
        OSError: this system has no /proc. ValueError: the file has no such line.
    """
    for line in (root / "proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise ValueError(f"/proc/self/status has no line {key}")


def started(root: Path = Path("/")) -> float:
    """When this process began, in seconds since the machine did (CLOCK_BOOTTIME). Raises OSError: there is no /proc."""
    fields = (root / "proc/self/stat").read_text().rpartition(")")[2].split()  # the name before may have spaces
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def single_threaded(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment for a child process whose numeric libraries use one thread.

    >>> single_threaded({"HOME": "/root"})["OMP_NUM_THREADS"]
    '1'

    Args:
        environment: to start from; this process's if absent.
    """
    return {**(os.environ if environment is None else environment), **dict.fromkeys(THREAD_POOLS, "1")}
