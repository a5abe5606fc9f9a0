"""One training step, side by side: the engine tflite over the engine onnx-runtime, on the same bundle and batch.

    python -m benchmarks.tflite [--models lenet,tcn] [--batches 1,8,32] [--json]

One thread each, one process, SGD, cross-entropy; the two take turns in short bursts. Medians, and their ratio.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from functools import partial
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.models import CLASSES, RATE, SHAPES, measure
from edge.engines import onnx_runtime, tflite
from edge.engines._probe import random_batch
from edge.interfaces import Engine
from export import zoo
from export.write import export

MODELS = [spec for spec in SHAPES if spec not in ("gru", "tiny-transformer")]
"""what TFLite has operators for"""


def main() -> int:
    """Print the table (or JSON)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=4.0, help="per row")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    for spec in args.models.split(","):
        model = zoo.build(spec, shape=SHAPES[spec], classes=CLASSES)
        for size in map(int, args.batches.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                bundle = export(model, Path(folder) / "bundle", rows=(size,))
                engines: dict[str, Engine] = {
                    "tflite": tflite.create(bundle),
                    "onnx-runtime": onnx_runtime.create(bundle),
                }
            batch = random_batch(bundle, size)
            steps = {name: partial(engine.step, batch, learning_rate=RATE) for name, engine in engines.items()}
            found = measure(steps, args.seconds)
            ratio = found["tflite"] / found["onnx-runtime"]
            rows.append({"model": spec, "batch": size, "ms": found, "ratio": ratio})
            if not args.json:
                times = "   ".join(f"{name} {ms:8.3f} ms" for name, ms in found.items())
                print(f"{spec:>16} batch {size:>3}: {times}   ratio {ratio:.2f}", flush=True)
    mean = statistics.geometric_mean(row["ratio"] for row in rows)
    if args.json:
        json.dump({"threads": 1, "geometric_mean": mean, "rows": rows}, sys.stdout, indent=1)
    else:
        print(f"geometric mean of tflite over onnx-runtime: {mean:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
