"""One training step, side by side: the exported graph on stock ONNX Runtime, and PyTorch eager.

    python -m benchmarks.step [--models resnet8,gru] [--batches 1,8,32] [--compile] [--peak] [--json]

One thread each, one process, SGD, the same model and batch. The two take turns in short bursts, so that a
noisy neighbour slows both; the table gives medians over all steps, and the ratio of the medians.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import torch

from benchmarks.models import CLASSES, RATE, SHAPES, measure
from benchmarks.twin import Twin
from edge.engines.onnx_runtime import create
from export import zoo
from export.assemble import assemble
from export.cost import cost
from export.model import Model
from export.write import export

GEMM = 1024
"""rows of the square product whose speed counts as the peak"""


def ours(model: Model, x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """A step of the exported graph on this batch."""
    with tempfile.TemporaryDirectory() as folder:
        engine = create(export(model, Path(folder) / "bundle"))
    return lambda: engine.step({"x": x, "labels": y}, learning_rate=RATE)


def theirs(model: Model, x: np.ndarray, y: np.ndarray, *, compiled: bool = False) -> Callable[[], object]:
    """A step of PyTorch on this batch, its loss read back as ours is."""
    twin = Twin(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=RATE)
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)

    def loss_of(xb: Any, yb: Any) -> Any:
        return torch.nn.functional.cross_entropy(twin(xb), yb)

    loss_of = torch.compile(loss_of) if compiled else loss_of

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(xt, yt)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def main() -> int:
    """Print the table (or JSON)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default=",".join(SHAPES))
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=4.0, help="per row")
    parser.add_argument("--compile", action="store_true", help="torch.compile beside eager")
    parser.add_argument("--peak", action="store_true", help="beside a matrix product, and the share of its speed")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    rows = []
    for spec in args.models.split(","):
        shape = SHAPES[spec]
        for batch in map(int, args.batches.split(",")):
            x = random.random((batch, *shape), dtype=np.float32)
            y = random.integers(0, CLASSES, batch)
            model = zoo.build(spec, shape=shape, classes=CLASSES)
            steps = {"ours": ours(model, x, y), "torch": theirs(model, x, y)}
            if args.peak:
                square = random.random((GEMM, GEMM), dtype=np.float32)
                steps["gemm"] = lambda square=square: square @ square  # type: ignore[misc]
            if args.compile:
                steps["compiled"] = theirs(model, x, y, compiled=True)
            found = measure(steps, args.seconds)
            ratios = {name: found["ours"] / ms for name, ms in found.items() if name != "ours"}
            if "gemm" in ratios:  # of the multiply-accumulates a second that a large product reaches
                macs = sum(cost(assemble(model).train, {"N": batch, "rows": batch}).macs.values())
                ratios["gemm"] = (macs / found["ours"]) / (GEMM**3 / found["gemm"])
            rows.append({"model": spec, "batch": batch, "ms": found, "ratio": ratios})
            if not args.json:
                times = "   ".join(f"{name} {ms:8.3f} ms" for name, ms in found.items())
                peak = f", {ratios['gemm']:.0%} of GEMM peak" if args.peak else ""
                print(f"{spec:>16} batch {batch:>3}: {times}   ratio {ratios['torch']:.2f}{peak}", flush=True)
    mean = statistics.geometric_mean(row["ratio"]["torch"] for row in rows)
    if args.json:
        facts = {"threads": 1, "torch": torch.__version__, "geometric_mean": mean, "rows": rows}
        json.dump(facts, sys.stdout, indent=1)
    else:
        print(f"geometric mean over PyTorch eager: {mean:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
