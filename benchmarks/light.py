"""Export and train the nine classifiers that come with the onnx package, shapes and operators of real ones.

python -m benchmarks.light

Their weights are all one number, with which the activations of VGG-19 reach 10^29. So every weight of two or more axes
is drawn anew (He et al. 2015) before the three steps.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx.backend.test

from edge.engines import random_batch
from edge.engines.onnx_runtime import OnnxRuntime, create
from edge.errors import MurmurError
from export.load import load
from export.write import export

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"
STEPS, RATE = 3, 1e-3


def main() -> int:
    """One row a file; 1 if any could not be trained."""
    failed = 0
    print("| model | parameters | export, s | losses of three steps |\n|---|---|---|---|")
    for path in sorted(FOLDER.glob("*.onnx")):
        try:
            started = time.perf_counter()
            with tempfile.TemporaryDirectory() as folder:
                engine = create(export(load(path), Path(folder) / "bundle"))
                seconds = time.perf_counter() - started
                losses = train(engine)
        except MurmurError as reason:
            print(f"| {path.stem} | | | {reason} |")
            failed += 1
            continue
        failed += not np.isfinite(losses).all()
        shown = ", ".join(f"{loss:.3f}" for loss in losses)
        print(f"| {path.stem.removeprefix('light_')} | {engine.bundle.manifest.size:,} | {seconds:.1f} | {shown} |")
    return min(failed, 1)


def train(engine: OnnxRuntime) -> list[float]:
    """The losses of a few steps on two random images, from weights drawn anew; NaN for a step that was skipped."""
    random = np.random.default_rng(0)
    drawn = {
        name: (random.standard_normal(value.shape) * (2 / value[0].size) ** 0.5).astype(np.float32)
        for name, value in engine.parameters().items()
        if value.ndim > 1
    }
    engine.load_parameters(drawn)
    batch = random_batch(engine.bundle, 2)
    steps = [engine.step(batch, learning_rate=RATE) for _ in range(STEPS)]
    return [np.nan if "skipped_steps" in metrics else metrics["loss"] for metrics in steps]


if __name__ == "__main__":
    sys.exit(main())
