"""NumPy archives: `x_train, y_train, x_test, y_test`, or `x, y` of which a fifth is held out for testing.

`x_train, y_train` alone have no test part: a device then reports no accuracy.

Further arrays as long as the training part become columns, which `--split by:COLUMN` can divide on.
"""

import zipfile
from pathlib import Path

import numpy as np

from edge.data._arrays import source
from edge.errors import DataError
from edge.interfaces import Array
from edge.source import DataSource
from edge.specs import DataSpec


def read(argument: str) -> DataSource:
    """Read an archive. argument: its path."""
    return source(arrays(argument), f"npz:{argument}")


def samples(path: str) -> Array:
    """Read the samples only, `x` or `x_train`, as they are: for a reference set."""
    values = arrays(path)
    for name in ("x", "x_train"):
        if name in values:
            return values[name]
    raise DataError(f"npz:{path} must hold x or x_train; it holds {', '.join(values) or 'nothing'}")


def arrays(path: str) -> dict[str, Array]:
    """Read all arrays by name. Raises DataError."""
    try:
        with Path(path).open("rb") as file:  # np.load would leave a broken archive open
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataError(f"npz:{path} is a single array; save named arrays with numpy.savez")
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as reason:
        brief = str(reason).splitlines()[0] if str(reason) else type(reason).__name__
        raise DataError(f"npz:{path} cannot be read: {brief}") from None


SPEC = DataSpec(read=read, samples=samples, file=True)
