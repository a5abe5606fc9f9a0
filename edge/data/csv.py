"""CSV files with a header: `csv:PATH?label=kind&columns=a,b`; a fifth of the rows is held out for testing.

`edge.data._columns` has the options; `separator=;` is for files that are not separated by commas (`tab` for tabs).
Integer labels stay as they are, text is looked up in the bundle's class names.
"""

import csv
from pathlib import Path

import numpy as np

from edge.data._columns import OPTIONS, NamedColumns, table_spec
from edge.errors import DataError
from edge.interfaces import Array
from edge.source_options import separator, split

SEPARATOR = {"separator": ","}


def _table(argument: str) -> tuple[NamedColumns, dict[str, str]]:
    """Open a file. argument: its path and options."""
    path, options = split("csv", argument, OPTIONS | SEPARATOR)
    origin = f"csv:{path}"
    delimiter = separator("csv", argument, options["separator"])
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            names = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as reason:
        raise DataError(f"{origin} cannot be read: {reason}") from None
    ragged = next(((line, row) for line, row in lines if len(row) != len(names)), None)
    if ragged:
        raise DataError(f"{origin}: line {ragged[0]} has {len(ragged[1])} values; the header has {len(names)} columns")
    places = np.array([f"line {line}" for line, _ in lines])
    return NamedColumns(names, lambda name: _column(lines, names.index(name)), places, origin), options


def _column(lines: list[tuple[int, list[str]]], index: int) -> Array:
    return np.array([row[index].strip() for _, row in lines])


SPEC = table_spec(_table)
