"""One engine in a process of its own: how long a step takes, how much memory, how soon the first one is done.

    python -m edge.engines._probe ENGINE BUNDLE N[,R] SECONDS [OPTIONS]

prints one JSON object. N, R: rows of a private and of a reference batch. OPTIONS, as JSON, are those that the engine's
`tune` tries.
"""

import json
import statistics
import sys
import time
from pathlib import Path

from edge import bundle as bundles
from edge import process
from edge.engines import ENGINES
from edge.engines._batch import random_batch

RATE, STEPS = 0.001, 20
"""of the steps whose last loss is reported, to be compared between engines"""


def main(engine: str, path: str, rows: str, seconds: str, options: str = "") -> None:
    """Take steps for so many seconds; print what they cost."""
    bundle = bundles.read(Path(path))
    batch = random_batch(bundle, *map(int, rows.split(",")))
    spec = ENGINES.load(engine)
    runner = spec.with_options(bundle, json.loads(options)) if options and spec.with_options else spec.create(bundle)
    losses = [runner.step(batch, learning_rate=RATE)["loss"]]
    first = time.clock_gettime(time.CLOCK_BOOTTIME) - process.started()
    losses += [runner.step(batch, learning_rate=RATE)["loss"] for _ in range(STEPS - 1)]
    taken: list[float] = []
    while sum(taken) < float(seconds):
        begin = time.perf_counter()
        runner.step(batch, learning_rate=RATE)
        taken.append(time.perf_counter() - begin)
    costs = {"step_seconds": statistics.median(taken), "peak_bytes": process.memory("VmHWM")}
    print(json.dumps({**costs, "first_step_seconds": first, "loss": losses[-1]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
