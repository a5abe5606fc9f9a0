"""Lines of a file that grows. A line counts when its end is there.

Where to go on is kept as begin, end and digest of the last line that was kept. If that line is not there any more, the
file was cut short or replaced, and is read from its beginning. A file that is renamed away loses what was not read yet,
at most what came since the last look.
"""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edge.errors import DataError

MARK = "line"
CHUNK = 65_536
"""bytes that are read at once; a longer line is read whole, up to LONGEST"""
LONGEST = 4_000_000
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Line:
    """A line. content: without its end; first: whether the file begins with it; mark: where it is, to go on after."""

    content: bytes
    first: bool
    mark: str


def lines(path: Path, marks: Mapping[str, str]) -> Iterator[list[Line] | None]:
    """Follow a file.

    Args:
        path: of the file.
        marks: MARK has the mark of the last line that was kept, if any was.

    Yields:
        Lines that have come, one or more; None if none has.

    Raises:
        OSError: the file is not there. DataError: a line is longer than LONGEST.
    """
    mark = marks.get(MARK, "")
    while True:
        chunk = _more(path, mark)
        if chunk is None:
            _log.warning("%s was cut short or replaced: it is read from its beginning", path)
            mark = ""
            continue
        if chunk:
            mark = chunk[-1].mark
        yield chunk or None


def first(path: Path) -> bytes | None:
    """Return the first line; None if its end is not there yet. Raises OSError, DataError."""
    chunk = _more(path, "")
    return chunk[0].content if chunk else None


def _more(path: Path, mark: str) -> list[Line] | None:
    """The lines after a mark; None if the line of the mark is not there."""
    with path.open("rb") as file:
        position = 0
        if mark:
            begin, position, digest = int(mark.split()[0]), int(mark.split()[1]), mark.split()[2]
            file.seek(begin)
            if _digest(file.read(position - begin)) != digest:
                return None
        content = file.read(CHUNK)
        while b"\n" not in content and (more := file.read(CHUNK)):
            content += more
            if len(content) > LONGEST:
                raise DataError(f"{path} has a line of more than {LONGEST} bytes at byte {position}")
    chunk = []
    for line in content.split(b"\n")[:-1]:  # after the last end is what has no end yet
        end, digest = position + len(line) + 1, _digest(line + b"\n")
        chunk.append(Line(line.removesuffix(b"\r"), position == 0, f"{position} {end} {digest}"))
        position = end
    return chunk


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:16]
