"""Files and folders that are there whole or not at all."""

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder to fill, that becomes `target` when the block ends well; else nothing is left of it. Raises OSError."""
    part = target.with_name(f".{target.name}.part")
    remove(part)
    try:
        part.mkdir(parents=True)
        yield part
        part.replace(target)
    finally:
        remove(part)


def write_text(path: Path, text: str) -> None:
    """All of the file, or nothing: written aside, then renamed. Raises OSError, and then nothing is left behind."""
    aside = path.with_name(f".{path.name}.part")
    try:
        aside.write_text(text)
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise


def write_private(path: Path, content: bytes) -> None:
    """A new file, of mode 0600 from its first moment on. Raises FileExistsError: no key is ever written over."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def unpack(archive: tarfile.TarFile, target: Path, largest: int) -> None:
    """Files and folders of an archive into the folder `target`, made anew where it is missing, and synced.

    Raises ValueError: something else is in it, a name leads out of it, or it has more than `largest` bytes; then, and
    where the archive ends too soon (TarError, EOFError, OSError), what is in `target` is worth nothing.
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
    """A folder with all that is in it, if it is there."""
    shutil.rmtree(path, ignore_errors=True)
