"""PyTorch on the job of `edge-bench engines`, in an environment that has nothing else: it needs torch and NumPy only,
and so reads /proc itself instead of by `edge.process`.

    python torch_worker.py JOB.npz SECONDS

JOB.npz: the batch ("x", "labels") and the parameters of the small CNN. Prints one JSON object, as the engines' probe.
"""

import json
import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

RATE, STEPS = 0.001, 20


def main(path: str, seconds: str) -> None:
    """Take steps for so many seconds; print what they cost."""
    torch.set_num_threads(1)
    with np.load(path) as job:
        p = {k: torch.from_numpy(v) for k, v in job.items()}
    x, labels = p.pop("x"), p.pop("labels")
    for value in p.values():
        value.requires_grad_(True)
    optimizer = torch.optim.SGD(p.values(), lr=RATE)

    def step() -> float:
        optimizer.zero_grad()
        y = x
        for name in ("conv1", "conv2"):
            y = F.max_pool2d(F.relu(F.conv2d(y, p[f"{name}.weight"], p[f"{name}.bias"], padding=1)), 2)
        loss = F.cross_entropy(F.linear(y.flatten(1), p["output.weight"], p["output.bias"]), labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    losses = [step()]
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    first = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    losses += [step() for _ in range(STEPS - 1)]
    durations: list[float] = []
    while sum(durations) < float(seconds):
        begin = time.perf_counter()
        step()
        durations.append(time.perf_counter() - begin)
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    figures = {"step_seconds": statistics.median(durations), "peak_bytes": int(line.split()[1]) * 1024}
    print(json.dumps({**figures, "first_step_seconds": first, "loss": losses[-1]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
