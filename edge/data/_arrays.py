"""Arrays by name, of an archive or a function: both parts, or one table."""

from collections.abc import Mapping

from edge.errors import DataError
from edge.interfaces import Array
from edge.source import DataSource, Samples

TRAIN, TEST = ("x_train", "y_train"), ("x_test", "y_test")
PARTED = (*TRAIN, *TEST)


def source(arrays: Mapping[str, Array], origin: str) -> DataSource:
    """Return what arrays hold: `x_train, y_train` and perhaps a test part, or `x, y`; others of n rows are columns.

    Raises:
        DataError: they hold something else.
    """
    tested = len(arrays.keys() & set(TEST))
    if set(TRAIN) <= arrays.keys() and tested != 1:
        n = len(arrays["y_train"])
        columns = {k: v for k, v in arrays.items() if k not in PARTED and v.shape == (n,)}
        test = Samples(arrays["x_test"], arrays["y_test"]) if tested else None
        return DataSource(Samples(arrays["x_train"], arrays["y_train"], columns), test)
    if {"x", "y"} <= arrays.keys():
        n = len(arrays["y"])
        columns = {k: v for k, v in arrays.items() if k not in ("x", "y") and v.shape == (n,)}
        return DataSource(Samples(arrays["x"], arrays["y"], columns), held_out=n // 5)
    raise DataError(f"{origin} must hold {', '.join(PARTED)}, or x, y; it holds {', '.join(arrays) or 'nothing'}")
