"""Tar archives: packed the same way everywhere, and unpacked without trust in what is inside."""

import io
import os
import shutil
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath


def pack(entries: Mapping[str, Path | bytes], *, compress: bool = False, epoch: int = 0) -> bytes:
    """Pack files, folders and contents into one archive that says nothing about this machine's users.

    Args:
        entries: name in the archive -> a file or folder of this machine, or a content; in this order. Links and
            other special files in a folder are left out. A content that begins with "#!" becomes executable.
        compress: gzip the archive.
        epoch: modification time of the contents, in seconds since 1970; files keep their own.

    Returns:
        The archive.

    Raises:
        OSError: a file cannot be read.
    """
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz" if compress else "w") as archive:
        for name, source in entries.items():
            if isinstance(source, Path):
                archive.add(source, name, filter=_without_owner)
                continue
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = len(source), epoch
            entry.mode = 0o755 if source.startswith(b"#!") else 0o644
            archive.addfile(entry, io.BytesIO(source))
    return out.getvalue()


def decompressed(content: bytes, largest: int) -> bytes:
    """Decompress a gzip archive, without ever holding more than it may have.

    Raises:
        ValueError: it is larger than `largest` bytes, ends too soon, or is not compressed so.
    """
    stream = zlib.decompressobj(wbits=31)
    try:
        whole = stream.decompress(content, largest + 1)
    except zlib.error as reason:
        raise ValueError(f"it cannot be decompressed: {reason}") from None
    if len(whole) > largest or stream.unconsumed_tail:
        raise ValueError(f"it decompresses to more than {largest:,} bytes")
    if not stream.eof:
        raise ValueError("it ends too soon")
    return whole


def unpack(archive: tarfile.TarFile, target: Path, largest: int) -> None:
    """Unpack files and folders, and sync them.

    Args:
        archive: open for reading.
        target: a folder, made where it is missing.
        largest: bytes that all files may have together.

    Raises:
        ValueError: the archive holds something else, a name leads out of `target`, or the files are too large.
        TarError, EOFError, OSError: the archive ends too soon, or cannot be written. After any error the content of
            `target` is worth nothing.
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
        with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o666), "wb") as file:
            shutil.copyfileobj(content, file)
            file.flush()
            os.fsync(file.fileno())


def _without_owner(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry if entry.isfile() or entry.isdir() else None
