"""A folder of IDX files as MNIST is published: train-images-idx3-ubyte, train-labels-..., t10k-... (.gz or not).

Without both t10k files there is no test part.
"""

import gzip
import zlib
from math import prod
from pathlib import Path

import numpy as np

from edge.errors import DataError
from edge.interfaces import Array
from edge.source import DataSource, Samples
from edge.specs import DataSpec

TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read(argument: str) -> DataSource:
    """Read the files of a folder. argument: the folder."""
    folder = Path(argument)
    test = _part(folder, "t10k") if any(folder.glob("t10k-*")) else None
    return DataSource(_part(folder, "train"), test)


def _part(folder: Path, part: str) -> Samples:
    return Samples(_read(folder, f"{part}-images-idx3-ubyte"), _read(folder, f"{part}-labels-idx1-ubyte"))


def _read(folder: Path, name: str) -> Array:
    path = next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None)
    if path is None:
        raise DataError(f"idx:{folder} lacks {name} (or {name}.gz)")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as reason:
        raise DataError(f"{path} cannot be read: {reason}") from None
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in TYPES:
        raise DataError(f"{path} is not an IDX file")
    dtype, rank = np.dtype(TYPES[content[2]]), content[3]
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    start, want = 4 + 4 * rank, prod(shape) * dtype.itemsize
    if len(content) - start != want:
        raise DataError(f"{path} announces {want} bytes of data and has {len(content) - start}; copy it again")
    return np.frombuffer(content, dtype, offset=start).reshape(shape).astype(dtype.newbyteorder("="))


SPEC = DataSpec(read=read, file=True)
