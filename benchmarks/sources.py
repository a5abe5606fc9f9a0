"""Train every ONNX file of a folder for a few steps: models as PyTorch, scikit-learn and Keras export them.

make sources
python -m benchmarks.sources FOLDER
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

from edge.engines.onnx_runtime import create
from edge.errors import MurmurError
from export.load import load
from export.write import export


def main() -> int:
    """One line a file; 1 if any could not be trained."""
    failed = 0
    for path in sorted(Path(sys.argv[1]).glob("*.onnx")):
        try:
            model = load(path)
            with tempfile.TemporaryDirectory() as folder:
                engine = create(export(model, Path(folder) / "bundle", optimizer="adam"))
        except MurmurError as reason:
            print(f"{path.name:>30}: {reason}")
            failed += 1
            continue
        random, manifest = np.random.default_rng(0), engine.bundle.manifest
        x, labels = random.random((12, *model.shape), np.float32), np.arange(12) % manifest.classes
        losses = [engine.step({"x": x, "labels": labels}, learning_rate=0.01)["loss"] for _ in range(60)]
        notes = "; ".join(model.notes)
        print(f"{path.name:>30}: {manifest.size:>6} parameters, {losses[0]:.3f} -> {losses[-1]:.3f}  {notes}")
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
