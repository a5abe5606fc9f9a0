"""What Linux says about processes (/proc), and how many threads the numeric libraries in them start.

It needs only the standard library, so that a process can set its threads before it imports anything else.
"""

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


def use_one_thread() -> None:
    """Let the numeric libraries of this process use one thread, unless its environment says otherwise.

    They read the environment when they load, so call this before that.
    """
    for pool in THREAD_POOLS:
        os.environ.setdefault(pool, "1")


def reset_peak() -> None:
    """Let the memory at the highest, "VmHWM", begin again with what is resident now. Raises OSError: no /proc."""
    Path("/proc/self/clear_refs").write_text("5")


def mapped(pid: int | None = None) -> dict[str, int]:
    """Memory that a process has mapped, in bytes by kind: "Rss", "Pss", "Private_Clean" and so on (smaps_rollup).

    Args:
        pid: of the process; this one if absent.

    Raises:
        OSError: it has ended, or this system does not say.
    """
    text = Path(f"/proc/{pid or 'self'}/smaps_rollup").read_text()
    fields = (line.split() for line in text.splitlines()[1:])
    return {name.rstrip(":"): int(kilobytes) * 1024 for name, kilobytes, *_ in fields}


def descendants(pid: int) -> list[int]:
    """A process and all that it and they have started, of those that run."""
    family, to_ask = [], [pid]
    while to_ask:
        parent = to_ask.pop()
        family.append(parent)
        for path in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                to_ask += map(int, path.read_text().split())
            except OSError:  # it has just ended
                continue
    return family
