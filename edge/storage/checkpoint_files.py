"""Checkpoints that survive a power cut: written to a temporary file, synced, renamed; the last two are kept.

FOLDER/round-00000012.safetensors    arrays by name, and the round in the file's metadata
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from edge.errors import ConfigError
from edge.interfaces import Array

KEPT = 2
"""Checkpoints kept: the newest, and the one before it for the case that a failing card has torn the newest."""
VERSION = "1"


def write(folder: Path, number: int, values: Mapping[str, Array]) -> None:
    """Write `values` as the checkpoint after round `number`, and remove all but the last two.

    Args:
        folder: is created if it is missing.
        number: the round.
        values: arrays by name, of any shape and of a dtype that safetensors has.

    Raises:
        ConfigError: the folder cannot be written; the checkpoints in it are as they were.
    """
    content = save(dict(values), metadata={"version": VERSION, "round": str(number)})
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
    for path in _kept(folder):
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("version") == VERSION:
                    return int(metadata["round"]), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError):
            continue  # cut short by a failing card: the one before it will do
    return None


def set_aside(folder: Path) -> None:
    """Move the checkpoints to FOLDER.before, which keeps the last two; other files stay."""
    before = folder.with_name(f"{folder.name}.before")
    for path in _kept(folder):
        before.mkdir(exist_ok=True)
        path.replace(before / path.name)
    for older in sorted(_kept(before), key=lambda path: path.stat().st_mtime)[:-KEPT]:
        older.unlink()


def _kept(folder: Path) -> list[Path]:
    return sorted(folder.glob("round-*.safetensors"), reverse=True)


def _sync(folder: Path) -> None:
    """Make the rename itself durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
