"""Files and folders that exist completely or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Fill a folder that becomes `target` when the block ends without an error; otherwise nothing is left of it.

    Args:
        target: the folder; it must not exist, or be empty.

    Yields:
        The folder to fill, beside it.

    Raises:
        OSError: it cannot be written or renamed.
    """
    part = target.with_name(f".{target.name}.part")
    remove(part)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(target)
    finally:
        remove(part)


def write_text(path: Path, text: str) -> None:
    """Write a text file in UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file completely or not at all: to a temporary file, which is then renamed.

    A device or a pipe, such as /dev/null, is written to as it is: a rename would replace it by a file.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        path.write_bytes(content)
        return
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_bytes(content)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner may read (mode 0600) from its first moment on, and sync it.

    Raises:
        FileExistsError: there is such a file; a key is never overwritten.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a folder and everything in it, if it exists."""
    shutil.rmtree(path, ignore_errors=True)
