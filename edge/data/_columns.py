"""Tables with named columns, CSV and Parquet: which are features, which is the label, and which only say more.

label=NAME          the column of the labels; `label` if absent
columns=NAME,NAME   the features, in this order; all others but the label if absent
without=NAME,NAME   not features; like all that are none, they stay columns to divide by (split, holdout)
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.errors import DataError
from edge.interfaces import Array
from edge.source import DataSource, Samples
from edge.specs import DataSpec

OPTIONS = {"label": "label", "columns": "", "without": ""}
_INTEGER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class NamedColumns:
    """Columns by name.

    Attributes:
        names: in the file's order.
        column: name -> its values (n,), numbers or text.
        places: (n,) text, where each row is.
        origin: for messages.
    """

    names: Sequence[str]
    column: Callable[[str], Array]
    places: Array
    origin: str


def table_spec(table: Callable[[str], tuple[NamedColumns, Mapping[str, str]]]) -> DataSpec:
    """Make a source of a kind of table; a fifth of its rows is held out.

    Args:
        table: opens one: (path and options) -> its columns, and values for OPTIONS.
    """

    def read(argument: str) -> DataSource:
        labelled = rows(*table(argument))
        return DataSource(labelled, held_out=len(labelled) // 5)

    def samples(argument: str) -> Array:
        return rows(*table(argument), labelled=False).x

    return DataSpec(read=read, samples=samples, file=True)


def rows(table: NamedColumns, options: Mapping[str, str], *, labelled: bool = True) -> Samples:
    """Read a table as labelled rows.

    Args:
        table: the columns.
        options: values for OPTIONS.
        labelled: whether there must be a label column; if not, it is left out.

    Returns:
        x (n, features) float64, the labels, and every column that is neither.

    Raises:
        DataError: a column that is not there, or a value that is no finite number; names the row.
    """
    label, without = options["label"], _listed(options["without"])
    features = _listed(options["columns"]) or [n for n in table.names if n != label and n not in without]
    twice = [name for name in table.names if list(table.names).count(name) > 1]
    wanted = [*features, *without, *([label] if labelled else [])]
    missing = [name for name in wanted if name not in table.names]
    known = ", ".join(table.names) or "none"
    if twice:
        raise DataError(f"{table.origin} has two columns called '{twice[0]}'; rename one")
    if missing:
        hint = "; say which holds the labels with ?label=NAME" if missing == [label] else ""
        raise DataError(f"{table.origin} has no column {', '.join(map(repr, missing))}; it has: {known}{hint}")
    if not features or label in features:
        raise DataError(f"{table.origin}: no features are left beside the label '{label}'; its columns are: {known}")
    if not len(table.places):
        raise DataError(f"{table.origin} has no rows")
    x = np.stack([_numbers(table, name) for name in features], axis=1)
    others = [name for name in table.names if name not in features and name != label]
    columns = {name: table.column(name) for name in others}
    return Samples(x, _labels(table, label) if labelled else None, columns, table.places)


def _listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")] if text else []


def _numbers(table: NamedColumns, name: str) -> Array:
    """A column as float64."""
    values = table.column(name)
    try:
        numbers = values.astype(np.float64)
    except (ValueError, TypeError):
        row = next(i for i, value in enumerate(values) if not _is_number(value))
        raise DataError(
            f"{table.origin}: {table.places[row]}: column '{name}' holds {str(values[row])!r}, which is no number; "
            f"correct it, or leave the column out with ?without={name}"
        ) from None
    wrong = ~np.isfinite(numbers)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(
            f"{table.origin}: {table.places[row]}: column '{name}' holds {str(values[row])!r}; remove the row or fill "
            f"it in ({int(wrong.sum())} such values in this column)"
        )
    return numbers


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (ValueError, TypeError):
        return False
    return True


def _labels(table: NamedColumns, name: str) -> Array:
    """The label column: integers where all are, else text."""
    values = table.column(name)
    if values.dtype.kind == "O":
        values = values.astype(str)
    if values.dtype.kind != "U":
        return values
    empty = np.char.strip(values) == ""
    if empty.any():
        raise DataError(f"{table.origin}: {table.places[int(empty.argmax())]}: the label ('{name}') is empty")
    return values.astype(np.int64) if all(_INTEGER.fullmatch(value) for value in np.unique(values)) else values
