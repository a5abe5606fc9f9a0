"""One training step, side by side: our graph on stock ONNX Runtime, and onnxruntime-training's own.

    make ort-training
    python -m benchmarks.official [--models ...] [--batches 1,8,32] [--seconds 3] [--json]

The two packages share an import name, so the official one runs in a process of its environment, and the two
processes take turns of ten steps, one thread each, SGD, normalizations frozen (which the official gradient
needs). Medians, and the ratio of the medians. "same runtime" is our graph on the official package's 1.19.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge import process
from edge.engines.onnx_runtime import create
from edge_bench.intervals import BURST
from edge_bench.models import CLASSES, RATE, SHAPES
from export import zoo
from export.model import Model
from export.transforms.batch_norm import select
from export.write import export

WORKER = Path(".venv-ort-training/bin/python")


def model_of(spec: str) -> Model:
    """A model of the zoo with frozen normalizations."""
    return select(zoo.build(spec, shape=SHAPES[spec], classes=CLASSES), "frozen")


def data(spec: str, batch: int) -> tuple[Any, Any]:
    """Draw one batch."""
    random = np.random.default_rng(0)
    return random.random((batch, *SHAPES[spec]), np.float32), random.integers(0, CLASSES, batch)


def ours(spec: str, batch: int) -> Callable[[], object]:
    """A step of our graph, on the runtime of this environment."""
    x, y = data(spec, batch)
    with tempfile.TemporaryDirectory() as folder:
        engine = create(export(model_of(spec), Path(folder) / "bundle"))
    return lambda: engine.step({"x": x, "labels": y}, learning_rate=RATE)


def burst(step: Callable[[], object]) -> list[float]:
    """Time ten steps, in milliseconds."""
    times = []
    for _ in range(BURST):
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    return times


class Other:
    """The official step (or ours on its runtime) in a process of its own; a burst at a time."""

    def __init__(self, kind: str, spec: str, batch: int) -> None:
        command = [str(WORKER), "-m", "benchmarks.official_worker", kind, spec, str(batch)]
        environment = process.single_threaded()
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.refused = self._read().get("refused")

    def burst(self) -> list[float]:
        """Ask for ten steps."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        times: list[float] = self._read()["times"]
        return times

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"refused": "the process ended", "times": []}
        return answer


def row(spec: str, batch: int, seconds: float) -> dict[str, Any]:
    """Measure one line of the table."""
    others = {kind: Other(kind, spec, batch) for kind in ("official", "same runtime")}
    step = ours(spec, batch)
    turns: dict[str, Callable[[], list[float]]] = {"ours": lambda: burst(step)}
    turns |= {kind: other.burst for kind, other in others.items() if not other.refused}
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        turn()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, turn in turns.items():
            times[name] += turn()
    for other in others.values():
        other.close()
    ms = {name: statistics.median(t) for name, t in times.items()}
    ratio = {name: ms["ours"] / ms[name] for name in ms if name == "official"}
    if ratio:
        ratio["same runtime"] = ms["same runtime"] / ms["official"]
    return {"model": spec, "batch": batch, "ms": ms, "ratio": ratio, "refused": others["official"].refused}


def main() -> int:
    """Print the table (or JSON)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default=",".join(SHAPES))
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=3.0, help="per row")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for spec in args.models.split(","):
        for batch in map(int, args.batches.split(",")):
            rows.append(measured := row(spec, batch, args.seconds))
            if not args.json:
                times = "   ".join(f"{name} {ms:8.3f} ms" for name, ms in measured["ms"].items())
                ratio = (
                    ", ".join(f"{v:.2f}" for v in measured["ratio"].values()) or f"official: {measured['refused'][:60]}"
                )
                print(f"{spec:>16} batch {batch:>3}: {times}   ratio {ratio}", flush=True)
    kinds = ("official", "same runtime")
    means = {k: statistics.geometric_mean(r["ratio"][k] for r in rows if r["ratio"]) for k in kinds}
    if args.json:
        json.dump({"threads": 1, "geometric_mean": means, "rows": rows}, sys.stdout, indent=1)
    else:
        print(
            f"geometric mean over the official step: {means['official']:.2f}; same runtime {means['same runtime']:.2f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
