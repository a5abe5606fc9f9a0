"""One engine in a process of its own: how long a step takes, how much memory, how soon the first one is done.

    python -m edge.engines._probe ENGINE BUNDLE N[,R] SECONDS [OPTIONS]

prints one JSON object. N, R: rows of a private and of a reference batch. OPTIONS are those of ONNX Runtime's session,
as JSON.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edge import bundle as bundles
from edge import plugins, process
from edge.bundle import Bundle
from edge.interfaces import Array

RATE, STEPS = 0.001, 20
"""of the steps whose last loss is told, to be compared between engines"""


def random_batch(bundle: Bundle, private: int, reference: int = 0, seed: int = 0) -> dict[str, Array]:
    """A batch of the right shapes; targets are probabilities."""
    random, rows = np.random.default_rng(seed), {"N": private, "R": reference}
    made: dict[str, Array] = {}
    for wanted in bundle.manifest.inputs:
        shape = tuple(rows[d] if isinstance(d, str) else d for d in wanted.shape)
        if wanted.dtype == "int64":
            made[wanted.name] = random.integers(0, bundle.manifest.classes, shape)
            continue
        value: Array = random.random(shape, np.float32)
        made[wanted.name] = value / value.sum(-1, keepdims=True) if "target" in wanted.name else value
    return made


def main(engine: str, path: str, rows: str, seconds: str, options: str = "") -> None:
    """Take steps for so many seconds; print what they cost."""
    bundle = bundles.read(Path(path))
    batch = random_batch(bundle, *map(int, rows.split(",")))
    module: Any = plugins.load("edge.engines", engine)
    if options:
        from edge.engines._session import Options

        made = module.OnnxRuntime(bundle, Options(**json.loads(options)))
    else:
        made = module.create(bundle)
    losses = [made.step(batch, learning_rate=RATE)["loss"]]
    first = time.clock_gettime(time.CLOCK_BOOTTIME) - process.started()
    losses += [made.step(batch, learning_rate=RATE)["loss"] for _ in range(STEPS - 1)]
    taken: list[float] = []
    while sum(taken) < float(seconds):
        begin = time.perf_counter()
        made.step(batch, learning_rate=RATE)
        taken.append(time.perf_counter() - begin)
    costs = {"step_seconds": statistics.median(taken), "peak_bytes": process.memory("VmHWM")}
    print(json.dumps({**costs, "first_step_seconds": first, "loss": losses[-1]}))


if __name__ == "__main__":
    main(*sys.argv[1:])
