"""A model that is quick to train, and samples that it can tell apart."""

from pathlib import Path

import numpy as np

from edge.bundle import Bundle
from edge.interfaces import Array
from export import zoo
from export.write import export

CLASSES = ("left", "right", "up")


def blobs(rows: int, seed: int = 0) -> tuple[Array, Array]:
    """Samples (rows, 4) around a corner for each of the three classes, and class numbers."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, rows)
    return (2 * np.eye(4)[y] + 0.3 * random.standard_normal((rows, 4))).astype(np.float32), y


def mlp(folder: Path, objective: str = "cross_entropy", optimizer: str = "sgd") -> Bundle:
    """A bundle for them, with names of the classes."""
    model = zoo.build("mlp:8", shape=(4,), classes=3)
    return export(model, folder, objective=objective, optimizer=optimizer, class_names=CLASSES)
