"""Folders of files, one subfolder a class: the folder's name is the label.

Columns to divide by: `file`, and `prefix`, the file's name up to its first "_" or "-", which is often who or what
recorded it.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from edge.errors import DataError
from edge.interfaces import Array
from edge.source import DataSource, Samples

LEAST = 2
"""classes"""


def labelled(path: str, origin: str, endings: Collection[str], read: Callable[[Path], Array]) -> DataSource:
    """Read the files of all subfolders.

    Args:
        path: of the folder.
        origin: for messages.
        endings: of the files that are read, in lower case.
        read: file -> a sample.

    Returns:
        All samples, of which a fifth is held out.

    Raises:
        DataError: fewer than two classes, or samples of different shapes.
    """
    folder = _folder(path, origin)
    classes = {sub.name: _files(sub, endings) for sub in sorted(folder.iterdir()) if sub.is_dir()}
    classes = {name: files for name, files in classes.items() if files}
    if len(classes) < LEAST:
        has = f"only '{next(iter(classes))}' has" if classes else "there is none with"
        raise DataError(f"{origin}: expected {LEAST} or more subfolders, one a class; {has} {'/'.join(endings)} files")
    files = [file for several in classes.values() for file in several]
    y = np.array([name for name, several in classes.items() for _ in several])
    columns = {
        "file": np.array([file.name for file in files]),
        "prefix": np.array([re.split("[_-]", file.stem)[0] for file in files]),
    }
    places = np.array([str(file.relative_to(folder)) for file in files])
    return DataSource(Samples(stacked(files, origin, read), y, columns, places), held_out=len(files) // 5)


def unlabelled(path: str, origin: str, endings: Collection[str], read: Callable[[Path], Array]) -> Array:
    """Read all files below a folder, for a reference set. Arguments and errors are those of `labelled`."""
    files = _files(_folder(path, origin), endings)
    if not files:
        raise DataError(f"{origin}: there are no {'/'.join(endings)} files in it")
    return stacked(files, origin, read)


def stacked(files: list[Path], origin: str, read: Callable[[Path], Array]) -> Array:
    """Read files into one array (n, ...). Raises DataError: one of another shape."""
    first = read(files[0])
    samples = np.empty((len(files), *first.shape), first.dtype)
    for i, file in enumerate(files):
        sample = read(file)
        if sample.shape != first.shape:
            raise DataError(
                f"{origin}: {file.name} is {_shape(sample)}, {files[0].name} is {_shape(first)}; all must be alike"
            )
        samples[i] = sample
    return samples


def _shape(sample: Array) -> str:
    return "x".join(map(str, sample.shape))


def _folder(path: str, origin: str) -> Path:
    folder = Path(path)
    if not folder.is_dir():
        raise DataError(f"{origin}: there is no such folder")
    return folder


def _files(folder: Path, endings: Collection[str]) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file())
