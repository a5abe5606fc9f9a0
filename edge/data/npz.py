"""NumPy archives: `x_train, y_train, x_test, y_test`, or `x, y` of which a fifth is held out for testing.

`x_train, y_train` alone have no test part: a device then reports no accuracy.

Further arrays as long as the training part become columns, which `--split by:COLUMN` can divide on.
"""

import zipfile
from pathlib import Path

import numpy as np

from edge.data import Dataset, assemble, hold_out, standard
from edge.errors import DataError
from edge.interfaces import Array
from edge.specs import DataSpec

TRAIN, TEST = ("x_train", "y_train"), ("x_test", "y_test")
PARTED = (*TRAIN, *TEST)


def load(argument: str, seed: int) -> Dataset:
    """Read an archive. argument: its path."""
    arrays = _read(argument)
    origin = f"npz:{argument}"
    tested = len(arrays.keys() & set(TEST))
    if set(TRAIN) <= arrays.keys() and tested != 1:
        n = len(arrays["y_train"])
        columns = {k: v for k, v in arrays.items() if k not in PARTED and v.shape == (n,)}
        train = arrays["x_train"], arrays["y_train"]
        test = (arrays["x_test"], arrays["y_test"]) if tested else None
        return assemble(train, test, origin, columns)
    if {"x", "y"} <= arrays.keys():
        n = len(arrays["y"])
        columns = {k: v for k, v in arrays.items() if k not in ("x", "y") and v.shape == (n,)}
        return hold_out(arrays["x"], arrays["y"], n // 5, seed, origin, columns)
    raise DataError(f"{origin} must hold {', '.join(PARTED)}, or x, y; it holds {', '.join(arrays) or 'nothing'}")


def samples(path: str) -> Array:
    """Read the samples only, `x` or `x_train`, in standard form: for a reference set."""
    arrays = _read(path)
    for name in ("x", "x_train"):
        if name in arrays:
            return standard(arrays[name], f"npz:{path}")
    raise DataError(f"npz:{path} must hold x or x_train; it holds {', '.join(arrays) or 'nothing'}")


def _read(path: str) -> dict[str, Array]:
    try:
        with Path(path).open("rb") as file:  # np.load would leave a broken archive open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"npz:{path} is a single array; save named arrays with numpy.savez")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as reason:
        brief = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise DataError(f"npz:{path} cannot be read: {brief}") from None


SPEC = DataSpec(load=load, samples=samples)
