"""Checkpoints that survive a power cut: written to a temporary file, synced, renamed; the last two are kept.

FOLDER/round-00000012.safetensors    arrays by name, and in the file's metadata the round, what else is to be known
                                     about them (`facts`), and the SHA-256 of all of it
"""

import contextlib
import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save

from edge.errors import ConfigError
from edge.interfaces import Array
from edge.storage import tensor_file

KEPT = 2
"""Checkpoints kept: the newest, and the one before it for the case that a failing card has damaged the newest."""
VERSION = "1"
VERSION_KEY, ROUND_KEY, DIGEST_KEY = "version", "round", "sha256"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds. facts: about it; none in a file of an earlier release, which has no digest either."""

    number: int
    values: Mapping[str, Array]
    facts: Mapping[str, str] = field(default_factory=dict)


def write(folder: Path, number: int, values: Mapping[str, Array], facts: Mapping[str, str] | None = None) -> None:
    """Write `values` as the checkpoint after round `number`, and remove all but the last two.

    Args:
        folder: is created if it is missing.
        number: the round.
        values: arrays by name, of any shape and of a dtype that safetensors has.
        facts: what else is to be known about them.

    Raises:
        ConfigError: the folder cannot be written; the checkpoints in it are as they were.
    """
    metadata = {VERSION_KEY: VERSION, ROUND_KEY: str(number), **(facts or {})}
    content = save(dict(values), metadata={**metadata, DIGEST_KEY: _digest(values, metadata)})
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", dir=folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(folder / f"round-{number:08d}.safetensors")
        finally:
            Path(name).unlink(missing_ok=True)
        _sync(folder)
        for old in _kept(folder)[KEPT:]:
            old.unlink()
        for broken in folder.glob(".writing-*"):
            broken.unlink()
    except OSError as reason:
        raise ConfigError(f"cannot keep a checkpoint in {folder}: {reason.strerror}") from None


def read(folder: Path) -> tuple[int, dict[str, Array]] | None:
    """Read the newest checkpoint that is whole.

    Returns:
        The round and the arrays by name; None if there is no checkpoint that can be read.
    """
    checkpoint = newest(folder)
    return (checkpoint.number, dict(checkpoint.values)) if checkpoint else None


def newest(folder: Path) -> Checkpoint | None:
    """Read the newest checkpoint that is whole; one line in the log for each that is damaged.

    Returns:
        The checkpoint; None if there is none that can be read.
    """
    for path in _kept(folder):
        try:
            return _read(path)
        except (SafetensorError, OSError, KeyError, ValueError) as reason:
            _log.warning("the checkpoint %s is damaged (%s): the one before it is used", path, reason)
    return None


def exist(folder: Path) -> bool:
    """Whether there are any, damaged or not."""
    return bool(_kept(folder))


def stamp(folder: Path) -> tuple[str, int] | None:
    """What changes with every checkpoint: name and time of the newest file, without reading it; None if none is there.

    The file may be gone by then, if another process keeps checkpoints there: then it is asked for again.
    """
    for path in _kept(folder):
        with contextlib.suppress(FileNotFoundError):
            return path.name, path.stat().st_mtime_ns
    return None


def set_aside(folder: Path) -> None:
    """Move the checkpoints to FOLDER.before, which keeps the last two; other files stay."""
    before = folder.with_name(f"{folder.name}.before")
    for path in _kept(folder):
        before.mkdir(exist_ok=True)
        path.replace(before / path.name)
    for older in sorted(_kept(before), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        older.unlink()


def _read(path: Path) -> Checkpoint:
    """Raises SafetensorError, OSError, KeyError, ValueError: it is damaged."""
    values, metadata = tensor_file.read(path)
    if metadata.keys() == {VERSION_KEY, ROUND_KEY}:
        digest = None  # of an earlier release
    elif (digest := metadata.pop(DIGEST_KEY)) != _digest(values, metadata):
        raise ValueError("its content is not what was written")
    number = int(metadata.pop(ROUND_KEY))
    if metadata.pop(VERSION_KEY) != VERSION:
        raise ValueError("it is of another version")
    return Checkpoint(number, values, metadata if digest else {})


def _digest(values: Mapping[str, Array], metadata: Mapping[str, str]) -> str:
    """SHA-256 over what a checkpoint says, in hexadecimal: metadata, then names, dtypes, shapes and bytes of arrays."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, array in sorted(values.items()):
        digest.update(repr((name, str(array.dtype), array.shape)).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else b"")
    return digest.hexdigest()


def _kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.safetensors"), reverse=True)


def _sync(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
