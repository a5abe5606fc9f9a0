"""What the runs of a battery read: the data of devices, a reference set, and rows to choose a learning rate by."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from edge.errors import DataError
from edge.interfaces import Array
from edge.source import Dataset

REFERENCE, LARGEST_REFERENCE = 0.2, 1000
"""of the training rows, those that become the reference set, and how many at most"""
VALIDATION = 0.15


@dataclass(frozen=True)
class Files:
    """Of a data set and seed: what devices have, the reference set, and the former with rows held out to choose by."""

    private: Path
    reference: Path
    labels: Path
    validation: Path


def write(whole: Dataset, stem: Path, seed: int) -> Files:
    """Divide a data set into what devices have and a reference set, and write them.

    Args:
        whole: the data set.
        stem: of the files' names.
        seed: of the choice.

    Returns:
        The files.

    Raises:
        DataError: no row of a class is left for the devices.
    """
    n = len(whole.y_train)
    order = np.random.default_rng([seed, n, 3]).permutation(n)
    count = min(LARGEST_REFERENCE, int(REFERENCE * n))
    public, private = np.sort(order[:count]), np.sort(order[count:])
    kept = np.random.default_rng([seed, n, 4]).permutation(private)
    held = np.sort(kept[: int(VALIDATION * len(kept))])
    files = Files(*(stem.with_name(f"{stem.name}-{part}") for part in
                     ("private.npz", "reference.npz", "labels.npy", "validation.npz")))  # fmt: skip
    np.savez(files.reference, x=whole.x_train[public])
    np.save(files.labels, whole.y_train[public])
    _write(files.private, whole, private, whole.x_test, whole.y_test)
    _write(files.validation, whole, np.setdiff1d(private, held), whole.x_train[held], whole.y_train[held])
    return files


def _write(path: Path, whole: Dataset, rows: Array, x_test: Array, y_test: Array) -> None:
    missing = set(np.unique(whole.y_train)) - set(np.unique(whole.y_train[rows]))
    if missing:
        raise DataError(f"{path.stem}: no row of class {whole.names[min(missing)]} is left for the devices")
    arrays: dict[str, Any] = {name: values[rows] for name, values in whole.columns.items()}
    arrays |= {"x_train": whole.x_train[rows], "y_train": whole.y_train[rows], "x_test": x_test, "y_test": y_test}
    np.savez(path, **arrays)


_digests: dict[Path, str] = {}


def digest(path: Path) -> str:
    """Return a digest of the arrays in a file."""
    if path not in _digests:
        parts = [path.read_bytes()]
        if path.suffix == ".npz":  # an archive has the time in it
            with np.load(path) as archive:
                parts = [archive[name].tobytes() for name in sorted(archive.files)]
        _digests[path] = sha256(b"".join(parts)).hexdigest()[:16]
    return _digests[path]
