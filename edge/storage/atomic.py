"""Files and folders that exist completely or not at all."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


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
    """Write a file completely or not at all: to a temporary file, which is then renamed.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text)
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


def unpack(archive: tarfile.TarFile, target: Path, largest: int) -> None:
    """Unpack the files and folders of an archive into a folder, and sync them.

    Args:
        archive: open for reading.
        target: the folder; it is created if it is missing.
        largest: bytes that all files may have together.

    Raises:
        ValueError: the archive holds something else, a name that leads out of the folder, or more than `largest` bytes.
        TarError, EOFError, OSError: it ends too soon, or the folder cannot be written.
            After an error the content of `target` is worth nothing.
    """
    members = archive.getmembers()
    if (total := sum(member.size for member in members)) > largest:
        raise ValueError(f"it unpacks to {total:,} bytes; at most {largest:,} were expected")
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for member in members:
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise ValueError(f"{member.name!r} is nothing that belongs in it")
        place = target / path
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        content = archive.extractfile(member)
        assert content is not None  # it is a file
        with place.open("wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a folder and everything in it, if it exists."""
    shutil.rmtree(path, ignore_errors=True)
