"""Train the models that `benchmarks/exporters/torch_classifiers.py` wrote, and compare every loss with PyTorch's.

make classifiers
python -m benchmarks.classifiers FOLDER [NAME ...]

A model that was exported for two samples must also give four what it gives two and two.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edge.engines.onnx_runtime import create
from edge.errors import MurmurError
from edge.interfaces import Array, Engine
from export.load import load
from export.transforms.outputs import meant, named
from export.write import export

TOLERANCE = 1e-4


def main() -> int:
    """One row a file; 1 if any could not be exported, or trained apart from PyTorch."""
    folder = Path(sys.argv[1])
    names = sys.argv[2:] or sorted(path.stem for path in folder.glob("*.npz"))
    if not names:
        print(f"{folder} holds no NAME.npz; benchmarks/exporters/torch_classifiers.py writes them")
        return 2
    failed = 0
    print("| model | exporter | parameters | export, s | rate | loss, first to last | from PyTorch | from its double |")
    print("|---|---|---|---|---|---|---|---|")
    for name in names:
        for exporter in ("dynamo", "script"):
            try:
                row, apart = judge(folder, name, exporter)
                failed += not apart <= TOLERANCE
            except (MurmurError, FileNotFoundError) as reason:
                row = f"| | | | | {' '.join(str(reason).split())[:300]} | |"
                failed += 1
            print(f"| {name} | {exporter} {row}", flush=True)
    print(f"\n{failed} of {2 * len(names)} failed")
    return min(failed, 1)


def judge(folder: Path, name: str, exporter: str) -> tuple[str, float]:
    """(the rest of a row, how far losses, or outputs for another number of samples, are off at most)."""
    path = folder / f"{name}.{exporter}.onnx"
    if not path.is_file():
        raise FileNotFoundError(f"not exported: {(folder / f'{name}.txt').read_text()}")
    with tempfile.TemporaryDirectory() as place, np.load(folder / f"{name}.npz") as oracle:
        objective, rate = str(oracle["objective"]), float(oracle["rate"])
        kind = named(objective, None)
        started = time.perf_counter()
        model, objective = meant(load(path, task=kind.name if kind else None), objective)
        engine = create(export(model, Path(place) / "bundle", objective=objective))
        seconds = time.perf_counter() - started
        uneven = unevenness(engine, oracle["x"][:2])
        labels = oracle["y"]
        if objective == "mean_squared_error":  # numbers are in one row a sample
            labels = labels.reshape(*labels.shape[:2], -1)
        losses = [
            engine.step({"x": x, "labels": y}, learning_rate=rate)["loss"]
            for x, y in zip(oracle["x"], labels, strict=True)
        ]
        apart, inexact = (float(np.abs(losses - oracle[key]).max()) for key in ("losses", "exact"))
        cells = (f"{engine.bundle.manifest.size:,}", f"{seconds:.1f}", f"{rate:g}")
        row = f"| {' | '.join(cells)} | {losses[0]:.4f} to {losses[-1]:.4f} | {apart:.1e} | {inexact:.1e} |"
        return row, max(apart, uneven)


def unevenness(engine: Engine, x: Array) -> float:
    """How far the outputs of two batches are from those of all their samples in one batch."""
    apart = np.concatenate([engine.predict(rows) for rows in x])
    return float(np.abs(engine.predict(np.concatenate(list(x))) - apart).max())


if __name__ == "__main__":
    sys.exit(main())
