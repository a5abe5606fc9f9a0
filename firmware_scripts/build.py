"""An image for a board's card, or an update for boards that have one.

    python -m firmware_scripts.build --board rpi4 -o murmur-rpi4.img [--update FLEET] [--base FILE] [--json]

The image holds no secret and no name: it is the same for all boards of a kind and for all fleets. With --update also
murmur-rpi4.raucb is made, signed by the fleet whose folder that is: `system/root/usr/lib/murmur/update` says what
becomes of it. The packages that a suite gives are kept in --base, so that the next build takes one minute, not four.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from edge.arguments import CommandParser
from edge.command import guarded, last_line
from edge.errors import ConfigError
from edge.storage import digests
from firmware_scripts import board as boards
from firmware_scripts import image, rootfs, system_packages, wheelhouse


@dataclass(frozen=True)
class Built:
    """An image and what belongs to it. bytes: of the image; mapped: those of them that are written to a card."""

    image: str
    board: str
    version: str
    sha256: str
    bytes: int
    mapped: int
    update: str | None


def build(name: str, target: Path, base: Path, fleet: Path | None, notify: Callable[[str], None]) -> Built:
    """Build an image: all of it or nothing.

    Args:
        name: of the board, a file of `boards/`.
        target: the image.
        base: archive of the suite's packages; made if it is not there.
        fleet: folder of the fleet that signs an update; none is made if absent.
        notify: is given a line when a step begins.

    Raises:
        ConfigError: a package of the system is missing, the target exists, or a step fails.
    """
    board = boards.load(name)
    system_packages.require("bootstrap", "image", *(["update"] if fleet else []))
    if target.exists():
        raise ConfigError(f"{target} is there already; name another, or remove it")
    if not target.parent.is_dir():
        raise ConfigError(f"-o {target}: there is no folder {target.parent}")
    signer = _signer(fleet) if fleet else None
    version, epoch = _version()
    disk = signature(name)
    update = target.with_suffix(".raucb") if signer else None
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".build-") as scratch:
        work = Path(scratch)
        if not base.is_file():
            notify(f"the packages of Debian {board.suite}, into {base}")
            rootfs.base(board, base, epoch)
        notify("the wheels")
        wheelhouse.build("aarch64", board.python, "onnxruntime", work / "wheels")
        notify("the system")
        slot = rootfs.slot(board, name, base, work / "wheels", version, disk, work, epoch)
        notify("the image")
        image.assemble(board, slot, disk, work / target.name, epoch)
        digest = digests.sha256(work / target.name)
        if signer and update:
            notify("the update")
            bundle(slot.file, name, version, signer, work / update.name)
            (work / update.name).replace(update)
        shutil.copy(work / "packages.txt", f"{target}.packages")
        (work / f"{target.name}.bmap").replace(f"{target}.bmap")
        (work / target.name).replace(target)
    mapped = target.stat().st_blocks * 512
    return Built(str(target), name, version, digest, target.stat().st_size, mapped, str(update) if update else None)


def signature(name: str) -> str:
    """Of the partition table of a board's cards, eight hex digits: by it a system finds its slots.

    Of all versions the same: an update has to find the slots of a card that was written long ago.
    """
    return hashlib.sha256(f"murmur {name}".encode()).hexdigest()[:8]


def _version() -> tuple[str, int]:
    """Return what git calls this state of the sources, and when it was committed."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(wheelhouse.ROOT), *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"an image is built from a git checkout: {last_line(done.stderr)}")
        return done.stdout.strip()

    return git("describe", "--always", "--dirty"), int(git("log", "-1", "--format=%ct"))


def _signer(fleet: Path) -> tuple[Path, Path]:
    pair = fleet / "signer.crt", fleet / "signer.key"
    if not all(path.is_file() for path in pair):
        raise ConfigError(f"--update {fleet}: has no signer.crt and signer.key; name a folder of edge-broker init")
    return pair


def bundle(file: Path, board: str, version: str, signer: tuple[Path, Path], target: Path) -> None:
    """Write a signed RAUC bundle with a slot's file system.

    Args:
        file: the ext4 image.
        board: the kind of board, which the system on it compares.
        version: of the system.
        signer: certificate and key.
        target: the bundle.

    Raises:
        ConfigError: rauc is missing, or fails.
    """
    system_packages.require("update")
    content = target.with_suffix(".content")
    content.mkdir()
    os.link(file, content / "rootfs.img")
    (content / "manifest.raucm").write_text(
        f"[update]\ncompatible=murmur-{board}\nversion={version}\n\n[bundle]\nformat=verity\n\n"
        "[image.rootfs]\nfilename=rootfs.img\n"
    )
    command = ["rauc", "bundle", f"--cert={signer[0]}", f"--key={signer[1]}", str(content), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"rauc failed: {last_line(done.stderr)}")


def main() -> int:
    """Build, and print what there is."""
    parser = CommandParser(description="An image for a board's card, or an update for boards that have one.")
    parser.add_argument("--board", required=True, metavar="|".join(boards.names()))
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.img")
    parser.add_argument("--update", type=Path, metavar="FLEET", help="also an update, signed by this fleet")
    parser.add_argument("--base", type=Path, metavar="FILE", help="packages, kept for the next build; beside the image")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    def body() -> int:
        board = boards.load(args.board)
        base = args.base or args.out.with_name(
            f"{board.suite}-{hashlib.sha256(repr((rootfs.PACKAGES, board.kernel)).encode()).hexdigest()[:8]}.tar"
        )
        console = Console(stderr=args.json)
        with console.status("") as status:

            def notify(line: str) -> None:
                status.update(line)
                if not console.is_terminal:
                    console.print(line, highlight=False)

            built = build(args.board, args.out, base, args.update, notify)
        if args.json:
            print(json.dumps(asdict(built)))
        else:
            console.print(
                f"{built.image}: {built.bytes / 1e6:.0f} MB, of which {built.mapped / 1e6:.0f} are written to a card"
            )
            console.print(f"SHA-256 {built.sha256}", soft_wrap=True, highlight=False)
            if built.update:
                console.print(f"{built.update}: {Path(built.update).stat().st_size / 1e6:.0f} MB", highlight=False)
        return 0

    return guarded("build", body)


if __name__ == "__main__":
    sys.exit(main())
