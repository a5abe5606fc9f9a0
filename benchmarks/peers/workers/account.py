"""What a worker reports to the benchmark. Its environments have nothing of ours, so it reads /proc itself."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path


def began() -> float:
    """Return when this process was started, in seconds since 1970."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK")


def report(marks: Sequence[float], accuracy: float, payload: float) -> None:
    """Print the account.

    Args:
        marks: the process's start, then the end of every round, in seconds since 1970.
        accuracy: on the test images, after the last round.
        payload: bytes that a client sent, and its share of a server's.
    """
    print(json.dumps({"marks": list(marks), "accuracy": accuracy, "payload_bytes": payload}), flush=True)
