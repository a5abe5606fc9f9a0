"""Processes: the threads that numeric libraries start in them, and what Linux says about them in /proc.

It needs nothing but the standard library, so that a process can set its threads before it imports anything else.
"""

import os
from pathlib import Path

THREAD_POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""variables that numeric libraries read as they are loaded"""
PROC = Path("/proc")


def single_threaded(**more: str) -> dict[str, str]:
    """Return this process's environment for another one, whose numeric libraries use one thread each.

    Args:
        more: further variables.

    >>> single_threaded(HOME="/root")["OMP_NUM_THREADS"]
    '1'
    """
    return {**os.environ, **dict.fromkeys(THREAD_POOLS, "1"), **more}


def use_one_thread() -> None:
    """Make the numeric libraries of this process use one thread each, unless its environment says otherwise.

    They read it as they are loaded, so call this before they are.
    """
    for pool in THREAD_POOLS:
        os.environ.setdefault(pool, "1")


def resident(proc: Path = PROC) -> int:
    """Return the resident memory of this process now, in bytes. Raises OSError where the system has no /proc."""
    return _status("VmRSS", proc)


def peak() -> int:
    """Return the most resident memory that this process has had, in bytes.

    Unlike `ru_maxrss`, VmHWM is not inherited from the process that started this one.
    """
    return _status("VmHWM", PROC)


def reset_peak() -> None:
    """Let `peak` start again from what is resident now."""
    (PROC / "self" / "clear_refs").write_text("5")


def _status(field: str, proc: Path) -> int:
    lines = (proc / "self" / "status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def started() -> float:
    """Return when this process was started, in seconds since the machine was (`time.CLOCK_BOOTTIME`)."""
    after_name = (PROC / "self" / "stat").read_text().rpartition(")")[2]
    return int(after_name.split()[19]) / os.sysconf("SC_CLK_TCK")


def mapped(pid: int | None = None) -> dict[str, int]:
    """Return what a process has mapped, in bytes by kind: "Rss", "Pss", "Private_Clean" and so on (smaps_rollup).

    Args:
        pid: of the process; this one if absent.

    Raises:
        OSError: it has ended, or the system does not tell.
    """
    text = (PROC / str(pid or "self") / "smaps_rollup").read_text()
    fields = (line.split() for line in text.splitlines()[1:])
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, *_ in fields}


def descendants(pid: int) -> list[int]:
    """Return a process and all that it and they have started, of those that run."""
    family, to_ask = [], [pid]
    while to_ask:
        parent = to_ask.pop()
        family.append(parent)
        for path in (PROC / str(parent) / "task").glob("*/children"):
            try:
                to_ask += map(int, path.read_text().split())
            except OSError:  # it has just ended
                continue
    return family
