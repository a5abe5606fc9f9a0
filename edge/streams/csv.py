"""A table that grows, `csv:PATH?label=NAME&columns=a,b&without=c&separator=;`: rows below a header.

The options are those of the data set `csv`. A row without a label is kept as unlabelled; without a column of that name
all are. A row whose end is not there yet waits, and one that has not as many values as the header is refused. No value
may contain a line break. After a crash nothing is lost or kept twice.
"""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.errors import DataError
from edge.payload import Payload, StreamItem
from edge.source_options import separator, split
from edge.specs import StreamSpec
from edge.streams import _tail

OPTIONS = {"label": "label", "columns": "", "without": "", "separator": ","}
_INTEGER = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class _Table:
    """A header, understood. features: places of the columns; label: its place, if there is one."""

    width: int
    features: tuple[int, ...]
    label: int | None
    separator: str

    def payload(self, line: bytes) -> Payload:
        """Read one row. Raises DataError."""
        values = _values(line, self.separator)
        if len(values) != self.width:
            raise DataError(f"a row has {len(values)} values, the header {self.width}")
        try:
            x = np.array([[float(values[i]) for i in self.features]])
        except ValueError as reason:
            raise DataError(f"a row holds what is no number: {reason}") from None
        label = "" if self.label is None else values[self.label].strip()
        return Payload(x, np.array([_label(label)]) if label else None)


def follow(argument: str, marks: Mapping[str, str], _: tuple[int, ...]) -> Iterator[StreamItem | None]:
    """Follow a table. argument: its path and options. See `StreamSpec.open`."""
    path, options = split("csv", argument, OPTIONS, "stream")
    options["separator"] = separator("csv", argument, options["separator"], "stream")
    return _arrivals(Path(path), options, marks)


def _arrivals(path: Path, options: Mapping[str, str], marks: Mapping[str, str]) -> Iterator[StreamItem | None]:
    table: _Table | None = None
    for lines in _tail.lines(path, marks):
        if lines is None:
            yield None
            continue
        for line in lines:
            mark = {_tail.MARK: line.mark}
            if line.first:
                table = _table(line.content, options, path)
                yield StreamItem(None, mark)
                continue
            if table is None:  # it goes on amid the file
                table = _table(_tail.first(path) or b"", options, path)
            try:
                yield StreamItem(table.payload(line.content) if line.content.strip() else None, mark)
            except DataError as reason:
                yield StreamItem(None, mark, str(reason))


def _table(header: bytes, options: Mapping[str, str], path: Path) -> _Table:
    """Raises DataError: it has not the columns that the options name."""
    names = [name.strip() for name in _values(header.removeprefix(b"\xef\xbb\xbf"), options["separator"])]
    label, without = options["label"], _listed(options["without"])
    features = _listed(options["columns"]) or [name for name in names if name != label and name not in without]
    if missing := [name for name in (*features, *without) if name not in names]:
        raise DataError(f"{path} has no column '{missing[0]}'; it has: {', '.join(names)}")
    return _Table(
        len(names),
        tuple(map(names.index, features)),
        names.index(label) if label in names else None,
        options["separator"],
    )


def _values(line: bytes, separator: str) -> list[str]:
    try:
        return next(csv.reader([line.decode()], delimiter=separator, strict=True), [])
    except (UnicodeDecodeError, csv.Error) as reason:
        raise DataError(f"a row cannot be read: {reason}") from None


def _label(text: str) -> int | float | str:
    if _INTEGER.fullmatch(text):
        return int(text)
    try:
        return float(text)
    except ValueError:
        return text


def _listed(text: str) -> Sequence[str]:
    return [name.strip() for name in text.split(",")] if text else []


SPEC = StreamSpec(open=follow, file=True)
