"""Bundles that every engine must train alike, and what the engine `onnx-runtime` makes of them.

    python -m tests.conformance.engines FOLDER

writes them for an environment that cannot export: one folder a bundle, and beside it NAME.npz with the reference.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edge import bundle as bundles
from edge.bundle import Bundle
from edge.engines import ENGINES, random_batch
from edge.interfaces import Array, Engine

ENVIRONMENTS = {"onnx-runtime": "test", "tflite": "test", "ort-training": "ort-training"}
"""engine -> target of the Makefile whose environment has it; those of `make test` itself have "test\""""
ORDINARY = ",".join(name for name, target in ENVIRONMENTS.items() if target == "test")
HERE = os.environ.get("MURMUR_ENGINES", ORDINARY).split(",")
"""the engines of this environment; `make test` runs the suite in one for each"""
ROWS = (12, 5)
BOTH = "cross_entropy + squared_error(reference)"
STEPS = 100


@dataclass(frozen=True)
class Case:
    """A model, its objective and optimizer, and a rate low enough that rounding does not grow."""

    model: str
    shape: tuple[int, ...]
    objective: str = "cross_entropy"
    optimizer: str = "sgd"
    rate: float = 0.003


CASES = {
    "conformance": Case("small-cnn", (1, 8, 8), BOTH, "adamw"),
    "convex": Case("mlp:2", (6,), "cross_entropy", "sgd", 0.1),
    "mlp": Case("mlp:32", (1, 12, 12), BOTH, "sgd", 0.03),
    "small-cnn": Case("small-cnn", (1, 12, 12), BOTH, "sgd", 0.01),
    "lenet": Case("lenet", (1, 28, 28)),
    "lenet-adamw": Case("lenet", (1, 28, 28), "cross_entropy", "adamw", 0.00003),
    "dropout": Case("dropout", (4,), BOTH, "sgd", 0.01),
    "tcn": Case("tcn", (6, 32), BOTH, "sgd", 0.003),
    "ds-cnn": Case("ds-cnn", (1, 25, 10)),
}


def write(name: str, folder: Path) -> Bundle:
    """Export a case with all that the engines of this environment need."""
    from export import zoo
    from export.transforms import batch_norm
    from export.write import export
    from tests.export.training import dropout_model

    case, specs = CASES[name], [ENGINES.load(kind) for kind in HERE]
    # The official gradient knows normalization by fixed statistics only.
    model = (
        dropout_model.build() if case.model == "dropout" else zoo.build(case.model, shape=case.shape, classes=4, seed=1)
    )
    model = batch_norm.select(model, "frozen")
    bundle = export(
        model,
        folder / name,
        objective=case.objective,
        optimizer=case.optimizer,
        rows=(ROWS if case.objective == BOTH else ROWS[:1]) if any(spec.fixed_batch for spec in specs) else (),
        official=any(spec.official for spec in specs),
    )
    plain = ENGINES.load("onnx-runtime").with_options
    assert plain is not None
    reference: Any = trained(plain(bundle, {"kernels": False}), case.rate)
    np.savez(folder / f"{name}.npz", **reference)
    return bundle


def found(name: str, folder: Path) -> Bundle:
    """The bundle of a case, written once; where this environment cannot export, by another."""
    home = Path(os.environ.get("MURMUR_BUNDLES", folder))
    return bundles.read(home / name) if (home / name).is_dir() else write(name, home)


def create(kind: str, bundle: Bundle) -> Engine:
    """An engine of that kind."""
    return ENGINES.load(kind).create(bundle)


def trained(engine: Any, rate: float) -> dict[str, Array]:
    """The losses of so many steps on batches that are the same everywhere, and the parameters after them."""
    losses = []
    for seed in range(STEPS):
        losses.append(engine.step(random_batch(engine.bundle, *ROWS, seed=seed), learning_rate=rate)["loss"])
    return {"losses": np.array(losses), **engine.parameters()}


if __name__ == "__main__":
    for case in CASES:
        write(case, Path(sys.argv[1]))
