"""Writes an image onto a card, and reads it back.

    python -m firmware_scripts.flash IMAGE DEVICE [--dry-run] [--yes] [--json]

Refuses disks that are mounted, built in, locked or too small; asks, by model and size. With IMAGE.bmap beside the image
only what it maps is written (by bmaptool where it is installed) and compared; without one all of it. What is compared
is what the card gives back, not what the system remembers of it.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from edge.arguments import CommandParser
from edge.command import guarded, last_line
from edge.errors import ConfigError
from firmware_scripts.disks import Disk, describe, refusal

BLOCK = 4 << 20
Ranges = Sequence[tuple[int, int]]
"""(first byte, byte after the last)"""
Advance = Callable[[str, int], None]
"""is given what is being done, "writing" or "comparing", and how many more bytes of it are done"""


def ranges(image: Path) -> Ranges:
    """Return what of the image is worth writing: by its bmap, or all. Raises ConfigError: a bmap of another image."""
    size, bmap = image.stat().st_size, image.with_name(image.name + ".bmap")
    if not bmap.is_file():
        return [(0, size)]
    try:
        root = ET.fromstring(bmap.read_text())
        block, whole = (int((root.findtext(name) or "").strip()) for name in ("BlockSize", "ImageSize"))
        if whole != size:
            raise ConfigError(f"{bmap} is about an image of {whole:,} bytes; {image} has {size:,}")
        result = []
        for entry in root.iterfind("BlockMap/Range"):
            first, _, last = (entry.text or "").strip().partition("-")
            result.append((int(first) * block, min(size, (int(last or first) + 1) * block)))
    except (ET.ParseError, ValueError) as reason:
        raise ConfigError(f"{bmap} is no block map ({reason}); make it again, or remove it") from None
    return result


def write(image: Path, target: Path, advance: Advance) -> None:
    """Copy, and wait until the card has everything. Raises ConfigError: writing fails."""
    bmaptool, bmap = shutil.which("bmaptool"), image.with_name(image.name + ".bmap")
    if bmaptool and bmap.is_file():
        command = [bmaptool, "--quiet", "copy", "--bmap", str(bmap), str(image), str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"bmaptool failed: {last_line(done.stderr)}")
        advance("writing", sum(end - begin for begin, end in ranges(image)))
        return
    try:
        with image.open("rb") as source, target.open("r+b") as out:
            for begin, end in ranges(image):
                source.seek(begin)
                out.seek(begin)
                while begin < end:
                    piece = _piece(source, end - begin)
                    out.write(piece)
                    begin += len(piece)
                    advance("writing", len(piece))
            out.flush()
            os.fsync(out.fileno())
    except OSError as reason:
        raise ConfigError(f"{target}: {reason.strerror} while writing; what is on it now is worth nothing") from None


def verify(image: Path, target: Path, advance: Advance) -> str:
    """Compare what the card gives back; returns its SHA-256. Raises ConfigError: it is something else."""
    ours = hashlib.sha256()
    try:
        with image.open("rb") as source, target.open("rb", buffering=0) as written:
            os.posix_fadvise(written.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)  # from the card, not from memory
            for begin, end in ranges(image):
                source.seek(begin)
                written.seek(begin)
                while begin < end:
                    piece = _piece(source, end - begin)
                    if _read(written, len(piece)) != piece:
                        raise ConfigError(
                            f"{target} does not hold what was written, from byte {begin:,} on: use another card"
                        )
                    ours.update(piece)
                    begin += len(piece)
                    advance("comparing", len(piece))
    except OSError as reason:
        raise ConfigError(f"{target}: {reason.strerror} while reading it back: use another card") from None
    return ours.hexdigest()


def _piece(source: IO[bytes], left: int) -> bytes:
    piece = source.read(min(BLOCK, left))
    if not piece:
        raise ConfigError("the image has become shorter while it was read; write it again")
    return piece


def _read(file: IO[bytes], count: int) -> bytes:
    content = b""
    while len(content) < count:
        piece = file.read(count - len(content))
        if not piece:
            break
        content += piece
    return content


def flash(image: Path, disk: Disk, advance: Advance = lambda *_: None) -> str:
    """Write an image onto a card, and compare what the card gives back.

    Args:
        image: with a block map beside it, or without.
        disk: the card.
        advance: follows the progress.

    Returns:
        The SHA-256 of what was written.

    Raises:
        ConfigError: the card must not be written, and nothing has been; or it fails.
    """
    if why := refusal(disk, image.stat().st_size):
        raise ConfigError(why)
    ranges(image)  # a block map of something else is found before anything is written
    write(image, disk.path, advance)
    return verify(image, disk.path, advance)


def main() -> int:
    """Ask, write, compare."""
    parser = CommandParser(description="Write an image onto a card, and read it back.")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("device", type=Path, metavar="DEVICE", help="as lsblk lists it, or a file that stands for one")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--json", action="store_true")
    return guarded("flash", lambda: _perform(parser.parse_args()))


def _perform(args: argparse.Namespace) -> int:
    console = Console(stderr=args.json)
    if not args.image.is_file():
        raise ConfigError(f"{args.image}: there is no such image")
    if args.image.suffix in (".zst", ".xz", ".gz"):
        raise ConfigError(f"{args.image} is compressed; unpack it first, as with: zstd -d {args.image}")
    disk, size = describe(args.device), args.image.stat().st_size
    if why := refusal(disk, size):
        raise ConfigError(why)
    some = sum(end - begin for begin, end in ranges(args.image))
    console.print(f"{args.image.name}, {some / 1e6:.0f} of {size / 1e6:.0f} MB, onto {disk}", highlight=False)
    digest = None
    if not args.dry_run:
        if not args.yes and not _agreed(disk):
            raise ConfigError("nothing was written")
        digest = _with_progress(console, args.image, disk, some)
        console.print(f"written and compared, SHA-256 {digest}", highlight=False, soft_wrap=True)
    if args.json:
        print(json.dumps({"device": str(disk.path), "bytes": some, "sha256": digest, "written": not args.dry_run}))
    return 0


def _with_progress(console: Console, image: Path, disk: Disk, some: int) -> str:
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        tasks = {what: bar.add_task(what, total=some) for what in ("writing", "comparing")}
        return flash(image, disk, lambda what, count: bar.advance(tasks[what], count))


def _agreed(disk: Disk) -> bool:
    """By typing the device's name: a yes is typed too easily."""
    print(f"Everything on {disk} will be lost. Type {disk.path} to go on: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() == str(disk.path)


if __name__ == "__main__":
    sys.exit(main())
