"""Peak resident memory of a process that trains, by its parts, beside what the exporter planned.

    python -m benchmarks.memory [--models small-cnn,mobilenet-v2] [--batch 32] [--recompute 1,4] [--json]

Every figure is of a fresh process, one thread: the interpreter with NumPy, with ONNX Runtime, with the session
and parameters, and after ten steps. "Planned" are the activations that `export.cost` finds by liveness.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx

from benchmarks.models import CLASSES, SHAPES
from export import zoo
from export.show import train_cost
from export.write import export

PROBE = """
import resource, sys
def peak():  # MB; VmHWM, which unlike ru_maxrss is not inherited from the parent
    line = next(l for l in open("/proc/self/status") if l.startswith("VmHWM"))
    return int(line.split()[1]) / 1000
seen = [peak()]
import numpy as np
seen.append(peak())
import onnxruntime
seen.append(peak())
from pathlib import Path
from edge import bundle
from edge.engines.onnx_runtime import create
seen.append(peak())
path, batch = Path(sys.argv[1]), int(sys.argv[2])
engine = create(bundle.read(path))
seen.append(peak())
manifest = engine.bundle.manifest
x = np.random.default_rng(0).random((batch, *manifest.shape), np.float32)
y = np.arange(batch) % manifest.classes
for _ in range(10):
    engine.step({"x": x, "labels": y})
seen.append(peak())
print(*seen)
"""
PARTS = ("python", "numpy", "onnxruntime", "edge", "session", "training")


def measure(path: Path, batch: int) -> dict[str, float]:
    """MB at the peak so far, after each part."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PROBE, str(path), str(batch)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return dict(zip(PARTS, map(float, said.split()), strict=True))


def main() -> int:
    """Print the table (or JSON)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default="small-cnn,resnet8,mobilenet-v2")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--recompute", default="1,4", help="numbers of segments")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for spec in args.models.split(","):
        for segments in map(int, args.recompute.split(",")):
            model = zoo.build(spec, shape=SHAPES[spec], classes=CLASSES)
            with tempfile.TemporaryDirectory() as folder:
                bundle = export(model, Path(folder) / "bundle", segments=segments)
                planned = train_cost(bundle, onnx.load(bundle.path / "train.onnx"), args.batch)
                found = measure(bundle.path, args.batch)
            above = found["training"] - found["session"]
            row = {"model": spec, "batch": args.batch, "segments": segments, "mb": found}
            rows.append(row | {"planned_mb": planned.activations / 1e6, "above_idle_mb": above})
            if not args.json:
                parts = "  ".join(f"{k} {v:.0f}" for k, v in found.items())
                print(
                    f"{spec:>13} batch {args.batch}, {segments} segment(s): {parts} MB; above idle {above:.1f}, "
                    f"planned {planned.activations / 1e6:.1f}",
                    flush=True,
                )
    if args.json:
        json.dump(rows, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
