"""A card's image from its parts: partition table, FAT, two slots, and the partition for what changes.

    1  FAT, "MURMUR"     loader, U-Boot's script and its counters; what is put on the card (system/board.py)   512 MiB
    2  ext4              slot A: the system, read only                                                         1,024 MiB
    3                    slot B: empty until the first update                                                  1,024 MiB
    4  ext4, murmur-var  /var; takes the rest of the card at the first start                                   64 MiB

Made by mtools, mkfs, sfdisk and mkimage, without mounts, loop devices or privileges; most of it is a hole, which a
block map beside it leaves out.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from edge.command import last_line
from edge.errors import ConfigError
from firmware_scripts.board import LOADERS, BoardSpec
from firmware_scripts.rootfs import MEGABYTES, Slot

MIB = 1 << 20
FAT, VAR = 512, 64
"""MiB"""
SCRIPT = Path(__file__).parent / "system" / "boot.cmd"


def assemble(board: BoardSpec, slot: Slot, disk: str, target: Path, epoch: int) -> None:
    """Write an image, and its block map beside it.

    Args:
        board: the kind of board.
        slot: the system, and the files of the first partition.
        disk: signature of the partition table, eight hexadecimal digits.
        target: the image.
        epoch: seconds since 1970 that every file system takes for the present.

    Raises:
        ConfigError: the packages lack a file of the board, or a program fails.
    """
    fat, a, b, var = (
        LOADERS,
        LOADERS + FAT * MIB,
        LOADERS + (FAT + MEGABYTES) * MIB,
        LOADERS + (FAT + 2 * MEGABYTES) * MIB,
    )
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        work = Path(scratch)
        first, last = work / "fat", work / "var"
        _fat(board, slot.boot, first, disk, work, epoch)
        options = ["-U", f"{disk}-0000-4000-8000-000000000004", "-E", "hash_seed=00000000-0000-4000-8000-000000000004"]
        _run(epoch, "mkfs.ext4", "-q", "-m", "0", "-L", "murmur-var", *options, str(last), f"{VAR}M")
        with target.open("wb") as out:
            out.truncate(var + VAR * MIB)
        table = f"label: dos\nlabel-id: 0x{disk}\nunit: sectors\n"
        for start, size, kind in (
            (fat, FAT, "c, bootable"),
            (a, MEGABYTES, "83"),
            (b, MEGABYTES, "83"),
            (var, VAR, "83"),
        ):
            table += f"start={start // 512}, size={size * MIB // 512}, type={kind}\n"
        _run(epoch, "sfdisk", "--quiet", str(target), text=table)
        for start, path in ((fat, first), (a, slot.file), (var, last)):
            _place(path, target, start)
        for start, name in board.raw.items():
            _place(slot.boot / name, target, start)
    _run(epoch, "bmaptool", "--quiet", "create", "-o", f"{target}.bmap", str(target))


def script(board: BoardSpec) -> str:
    """Return U-Boot's script for a board."""
    return SCRIPT.read_text().replace("@CONSOLE@", board.console).replace("@DEVICE_TREE@", board.device_tree)


def _fat(board: BoardSpec, files: Path, target: Path, disk: str, work: Path, epoch: int) -> None:
    content = work / "content"
    content.mkdir()
    for name, source in board.boot.items():
        if not (files / source).is_file():
            raise ConfigError(f"boards: boot: {name} = {source!r}: the packages have no such file")
        shutil.copy(files / source, content / name)
    for name, text in board.text.items():
        (content / name).write_text(text.lstrip("\n"))
    (work / "boot.cmd").write_text(script(board))
    _run(
        epoch,
        "mkimage",
        "-A",
        "arm64",
        "-T",
        "script",
        "-C",
        "none",
        "-d",
        str(work / "boot.cmd"),
        str(content / "boot.scr"),
    )
    with target.open("wb") as out:
        out.truncate(FAT * MIB)
    _run(epoch, "mkfs.vfat", "-F", "32", "-n", "MURMUR", "-i", disk, "--invariant", str(target))
    for path in sorted(content.iterdir()):
        os.utime(path, (epoch, epoch))
        _run(epoch, "mcopy", "-m", "-i", str(target), str(path), f"::{path.name}")


def _place(source: Path, target: Path, at: int) -> None:
    """Copy to byte `at`; where the source holds only zeros, holes are left."""
    with source.open("rb") as data, target.open("r+b") as out:
        while piece := data.read(MIB):
            if piece.count(0) != len(piece):
                out.seek(at)
                out.write(piece)
            at += len(piece)


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _run(epoch: int, *words: str, text: str | None = None) -> None:
    environment = {
        **os.environ,
        "PATH": _path(),
        "SOURCE_DATE_EPOCH": str(epoch),
        "E2FSPROGS_FAKE_TIME": str(epoch),
        "TZ": "UTC",
    }
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise ConfigError(f"{words[0]} failed: {last_line(done.stderr or done.stdout)}")
