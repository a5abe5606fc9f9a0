"""Bundles must load and train alike in the oldest supported runtime: ONNX Runtime 1.17 with NumPy 1.26.

python -m tests.oldest.check FOLDER     (the folder `write.py` made)
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort  # noqa: TID251 - its version is what this is about

from edge import bundle
from edge.engines.onnx_runtime import create
from edge.interfaces import Array

TOLERANCE, RATE = 1e-4, 1e-3
DEEP = {"resnet56": 1e-7, "mobilenet-v2": 1e-4}
"""Lower rates: fifty normalized layers make so much of a rounding that two versions of the runtime
part ways within three steps (by 0.1 at 1e-3), as PyTorch in float32 and in float64 do."""


def losses(path: Path) -> list[float]:
    """Of three steps of the bundle, on data that depend on nothing but its shapes."""
    engine = create(bundle.read(path))
    manifest, random, found = engine.bundle.manifest, np.random.default_rng(0), []
    for _ in range(3):
        batch: dict[str, Array] = {}
        for tensor in manifest.inputs:
            shape = tuple(4 if isinstance(d, str) else d for d in tensor.shape)
            if tensor.dtype == "int64":
                batch[tensor.name] = random.integers(0, manifest.classes, shape)
            else:
                batch[tensor.name] = random.random(shape, np.float32)
        found.append(engine.step(batch, learning_rate=DEEP.get(path.name, RATE))["loss"])
    return found


def main() -> int:
    """One line a bundle; 1 if any differs."""
    folder = Path(sys.argv[1])
    worst = 0.0
    for name, expected in json.loads((folder / "losses.json").read_text()).items():
        found = losses(folder / name)
        difference = max(abs(a - b) for a, b in zip(found, expected, strict=True))
        worst = max(worst, difference)
        print(f"{name:>16}: {found[-1]:.6f}, differs by {difference:.1e}")
    print(f"onnxruntime {ort.__version__}, numpy {np.__version__}: largest difference of a loss {worst:.1e}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
