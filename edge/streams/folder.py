"""A folder that fills, `folder:PATH`: files that somebody puts there, below it at any depth.

    NAME.npz           arrays x, and y if there are labels
    NAME.csv           rows below a header; the column of the labels is label=NAME
    CLASS/NAME.png     an image (jpg, bmp, ...), whose folder's name is its label; in PATH itself it has none.
                       size=HxW and color=rgb|grey are those of the data set `images`

A file is read when two looks, a second apart, have seen it alike; names that begin with a dot or end in .part or .tmp
wait until they are renamed. One that changes later is read again. Files stay where they are. After a crash nothing is
lost or kept twice.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from edge.data import csv, images, npz
from edge.errors import DataError
from edge.interfaces import Array
from edge.payload import Payload, StreamItem
from edge.source_options import split
from edge.specs import StreamSpec

UNFINISHED = (".part", ".tmp")
REMEMBERED = 10_000
"""files that are gone and still known; a file that comes back under its name is not read again"""


def follow(argument: str, marks: Mapping[str, str], _: tuple[int, ...]) -> Iterator[StreamItem | None]:
    """Follow a folder. argument: its path and options. See `StreamSpec.open`."""
    path, options = split("folder", argument, {"label": "label", "size": "", "color": "rgb"}, "stream")
    image = images.reader(f"{path}?size={options['size']}&color={options['color']}")[1]
    return _arrivals(Path(path), options["label"], image, dict(marks))


def _arrivals(
    folder: Path, label: str, image: Callable[[Path], Array], stamps: dict[str, str]
) -> Iterator[StreamItem | None]:
    last: dict[str, str] = {}
    while True:
        if not folder.is_dir():
            raise DataError(f"there is no folder {folder}")
        present = dict(_files(folder))
        for name, stamp in present.items():
            if stamps.get(name) == stamp:
                continue
            if last.get(name) == stamp:  # nobody writes to it any more
                stamps[name] = stamp
                yield _read(folder, name, label, image, {name: stamp})
        last = {name: stamp for name, stamp in present.items() if stamps.get(name) != stamp}
        absent = [name for name in stamps if name not in present]
        excess = absent[: max(0, len(absent) - REMEMBERED)]
        for name in excess:
            del stamps[name]
        yield StreamItem(None, dict.fromkeys(excess)) if excess else None


def _files(folder: Path) -> Iterator[tuple[str, str]]:
    """Name of a file -> when it was changed, and its size."""
    for path in sorted(folder.rglob("*")):
        readable = path.suffix.lower() in (".npz", ".csv", *images.ENDINGS)
        if readable and not path.name.startswith(".") and not path.name.endswith(UNFINISHED):
            try:
                status = path.stat()
            except FileNotFoundError:  # it has just gone
                continue
            yield str(path.relative_to(folder)), f"{status.st_mtime_ns} {status.st_size}"


def _read(
    folder: Path, name: str, label: str, image: Callable[[Path], Array], marks: Mapping[str, str | None]
) -> StreamItem:
    path = folder / name
    try:
        if path.suffix.lower() == ".npz":
            arrays = npz.arrays(str(path))
            if "x" not in arrays or ("y" in arrays and len(arrays["y"]) != len(arrays["x"])):
                raise DataError(f"{path} must hold x, and as many labels y or none")
            return StreamItem(Payload(arrays["x"], arrays.get("y")), marks)
        if path.suffix.lower() == ".csv":
            return StreamItem(_table(f"{path}?label={label}", path, label), marks)
        y = np.array([path.parent.name]) if path.parent != folder else None
        return StreamItem(Payload(image(path)[None], y), marks)
    except DataError as reason:
        return StreamItem(None, marks, str(reason))


def _table(argument: str, path: Path, label: str) -> Payload:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        labelled = label in [name.strip() for name in file.readline().split(",")]
    if not labelled:
        assert csv.SPEC.samples is not None
        return Payload(csv.SPEC.samples(argument))
    assert csv.SPEC.read is not None
    rows = csv.SPEC.read(argument).rows
    return Payload(rows.x, rows.y)


SPEC = StreamSpec(open=follow, file=True)
