"""Lines of JSON that are appended to a file, `jsonl:PATH`, each as `edge.payload` takes it.

A line whose end is not there yet waits. After a crash nothing is lost or kept twice.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from edge import payload
from edge.errors import DataError
from edge.payload import StreamItem
from edge.source_options import split
from edge.specs import StreamSpec
from edge.streams import _tail


def follow(argument: str, marks: Mapping[str, str], shape: tuple[int, ...]) -> Iterator[StreamItem | None]:
    """Follow a file. argument: its path. See `StreamSpec.open`."""
    path, _ = split("jsonl", argument, {}, "stream")
    return _arrivals(Path(path), marks, shape)


def parsed(content: bytes, shape: tuple[int, ...], marks: Mapping[str, str | None]) -> StreamItem:
    """Read one line; what cannot be read is refused."""
    if not content.strip():
        return StreamItem(None, marks)
    try:
        return StreamItem(payload.parse(content, shape), marks)
    except DataError as reason:
        return StreamItem(None, marks, str(reason))


def _arrivals(path: Path, marks: Mapping[str, str], shape: tuple[int, ...]) -> Iterator[StreamItem | None]:
    for lines in _tail.lines(path, marks):
        if lines is None:
            yield None
            continue
        for line in lines:
            yield parsed(line.content, shape, {_tail.MARK: line.mark})


SPEC = StreamSpec(open=follow, file=True)
