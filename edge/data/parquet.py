"""Parquet files: `parquet:PATH?label=kind&columns=a,b`; a fifth of the rows is held out for testing.

`edge.data._columns` has the options. Read with pyarrow: pip install 'murmur-edge[data]'.
"""

from typing import Any

import numpy as np

from edge.data._columns import OPTIONS, NamedColumns, table_spec
from edge.errors import DataError
from edge.interfaces import Array
from edge.source_options import split


def _table(argument: str) -> tuple[NamedColumns, dict[str, str]]:
    """Open a file. argument: its path and options."""
    path, options = split("parquet", argument, OPTIONS)
    origin = f"parquet:{path}"
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(f"{origin}: Parquet files are read with pyarrow: pip install 'murmur-edge[data]'") from None
    try:
        content = parquet.read_table(path)
    except (OSError, ArrowException) as reason:
        raise DataError(f"{origin} cannot be read: {str(reason).splitlines()[0]}") from None
    places = np.array([f"row {i}" for i in range(content.num_rows)])
    return NamedColumns(content.column_names, lambda name: _column(content.column(name)), places, origin), options


def _column(column: Any) -> Array:
    """A column as numbers or text; what is missing is NaN, or empty text."""
    values: Array = column.to_numpy()
    if values.dtype.kind == "O":
        return np.array(["" if value is None else str(value) for value in values])
    return values


SPEC = table_spec(_table)
