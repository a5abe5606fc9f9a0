"""A board's root file system: Debian's packages, Murmur's wheels, and `system/`, as one ext4 file.

In two steps, both by mmdebstrap, as root or in a user namespace: the packages (three minutes under emulation, the same
for all boards of a suite, kept as a tar archive), and what is ours on top of them.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_DNS, uuid5

from edge.command import last_line
from edge.errors import ConfigError
from edge.storage import archive
from firmware_scripts.board import BoardSpec
from firmware_scripts.emulated import mirror

HERE = Path(__file__).parent
PACKAGES = (
    *("systemd-sysv", "systemd-resolved", "systemd-timesyncd", "udev", "kmod", "dbus", "iproute2", "netbase"),
    *("fdisk", "e2fsprogs", "dosfstools", "openssl", "ca-certificates", "libstdc++6", "python3"),
    *("rauc", "rauc-service", "libubootenv-tool", "wpasupplicant", "wireless-regdb", "firmware-brcm80211"),
    *("openssh-server", "busybox-static", "usr-is-merged", "tiny-initramfs"),
)
"""tiny-initramfs only because Debian's kernel insists on a maker of initramfs; it is not run"""
LOADERS = ("raspi-firmware", "u-boot-rpi", "u-boot-rockchip")
"""packages that are unpacked, not installed: their scripts would do what `firmware_scripts` does"""
DRIVERS = ("gpu", "hid", "iio", "infiniband", "isdn", "media", "net/can", "scsi/*", "staging", "target", "video")
ETHERNET = ("broadcom/bnx*", "chelsio", "intel", "mellanox", "qlogic")
FILE_SYSTEMS = ("btrfs", "nfs", "nfsd", "ocfs2", "smb", "xfs")
EXCLUDED = (
    *(f"/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")),
    *(f"/lib/modules/*/kernel/{name}/*" for name in ("sound", "net/can")),
    *(f"/lib/modules/*/kernel/drivers/{name}/*" for name in DRIVERS),
    *(f"/lib/modules/*/kernel/drivers/net/ethernet/{name}/*" for name in ETHERNET),
    *(f"/lib/modules/*/kernel/fs/{name}/*" for name in FILE_SYSTEMS),
)
"""drivers of devices that no such board has: half of the kernel's modules"""
SERVICES = (
    *("systemd-networkd", "systemd-resolved", "systemd-timesyncd", "ssh"),
    *("murmur-grow", "murmur-board", "murmur-node", "murmur-good", "murmur-update"),
)
MMDEBSTRAP = ("mmdebstrap", "--quiet", "--architectures=arm64")
MEGABYTES = 1024
"""of a slot"""


@dataclass(frozen=True)
class Slot:
    """file: the ext4 image; boot: a folder with the loaders' and the kernel's files, for the first partition."""

    file: Path
    boot: Path


def base(board: BoardSpec, target: Path, epoch: int) -> None:
    """Install the packages of a board's suite into a tar archive: all of it or nothing.

    Args:
        board: the kind of board.
        target: the archive.
        epoch: seconds since 1970 of everything in it.

    Raises:
        ConfigError: mmdebstrap fails.
    """
    suite, other = board.suite, board.kernel.partition("/")[2]
    hooks = [
        'mkdir -p "$1/opt/loaders/debs"',
        'cd "$1/opt/loaders/debs" && APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --quiet=2 '
        f"-o APT::Sandbox::User=root download {' '.join(LOADERS)}",
        'for deb in "$1"/opt/loaders/debs/*.deb; do dpkg-deb -x "$deb" "$1/opt/loaders"; done',
        'rm -r "$1/opt/loaders/debs"',
    ]
    command = [*MMDEBSTRAP, "--variant=essential", f"--include={','.join((*PACKAGES, board.kernel))}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED]
    command += [f"--dpkgopt=path-exclude=/usr{pattern}" for pattern in EXCLUDED if pattern.startswith("/lib/")]
    command += ["--aptopt=APT::Install-Recommends false", "--aptopt=Acquire::Languages none"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    aside = target.with_name(f".{target.name}.part.tar")
    sources = [*mirror(suite, "main non-free-firmware"), *(mirror(other, "main", like=suite) if other else [])]
    try:
        _run([*command, suite, str(aside), *sources], epoch)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def slot(
    board: BoardSpec, name: str, packages: Path, wheels: Path, version: str, disk: str, folder: Path, epoch: int
) -> Slot:
    """Make a system that runs on a board.

    Args:
        board: the kind of board.
        name: of the board, as --board has it.
        packages: archive that `base` made.
        wheels: folder of `firmware_scripts.wheelhouse`.
        version: of the system.
        disk: the card's signature, eight hexadecimal digits.
        folder: for the result.
        epoch: seconds since 1970 of everything in it.

    Raises:
        ConfigError: mmdebstrap fails.
    """
    ours = folder / "overlay.tar"
    ours.write_bytes(overlay(board, name, version, disk, epoch))
    boot, file = folder / "boot", folder / "rootfs.img"
    boot.mkdir()
    tree = f'"$1"/usr/lib/linux-image-*/{board.device_tree}'
    uuid = uuid5(NAMESPACE_DNS, f"{name}.{version}.murmur")
    hooks = [
        f'grep -q ={board.suite} "$1/etc/os-release" || {{ echo "--base: not {board.suite}" >&2; exit 1; }}',
        f"tar-in {shlex.quote(str(ours))} /",
        f"copy-in {shlex.quote(str(wheels))} /opt",
        f'chroot "$1" sh /opt/{wheels.name}/install.sh >&2',
        f'rm -r "$1/opt/{wheels.name}"',
        f'cp -r "$1/opt/loaders/." {boot}/',
        f'cp -r "$1"/usr/lib/linux-image-*/ {boot}/kernel && rm -r "$1/opt/loaders" "$1"/usr/lib/linux-image-*',
        f'chroot "$1" systemctl --quiet enable {" ".join(SERVICES)}',
        f'PYTHONPATH={HERE.parent} {sys.executable} -m firmware_scripts.initrd "$1" "$1/boot/initrd.img"',
        'rm -f "$1"/vmlinuz* "$1"/initrd.img* "$1"/boot/System.map* "$1"/boot/config-*',
        'mv "$1"/boot/vmlinuz-* "$1/boot/vmlinuz"',
        # What would be the same on all boards, and must not be.
        'rm -rf "$1"/etc/ssh/ssh_host_* "$1"/var/lib/murmur "$1"/etc/machine-id; : >"$1/etc/machine-id"',
        'ln -sf /run/systemd/resolve/stub-resolv.conf "$1/etc/resolv.conf"; mkdir -p "$1/boot/firmware"',
        'chroot "$1" dpkg-query --show >' + shlex.quote(str(folder / "packages.txt")),
        'rm -rf "$1"/var/cache/* "$1"/var/lib/apt "$1"/var/log/* "$1"/usr/share/locale/* "$1"/root/.cache',
        f'cd / && {sys.executable} {HERE / "ext4.py"} "$1" {file} {MEGABYTES} {uuid} {epoch}',
    ]
    if board.device_tree:
        hooks.insert(6, f'cp {tree} "$1/boot/board.dtb"')
    command = [*MMDEBSTRAP, "--variant=custom", "--skip=update", "--format=null"]
    command += [f"--setup-hook=tar-in {shlex.quote(str(packages))} /", *(f"--customize-hook={hook}" for hook in hooks)]
    _run([*command, board.suite, "-", *mirror(board.suite, "main")], epoch)
    return Slot(file, boot)


def overlay(board: BoardSpec, name: str, version: str, disk: str, epoch: int) -> bytes:
    """Return `system/root` and the files of this board as a tar archive, owned by root."""
    values = {"@BOARD@": name, "@DISK@": disk}
    about = {"board": name, "name": board.name, "compatible": board.compatible, "version": version}
    files = {
        path.relative_to(HERE / "system/root"): path.read_text()
        for path in (HERE / "system/root").rglob("*")
        if path.is_file()
    }
    files[Path("usr/lib/murmur/board.py")] = (HERE / "system/board.py").read_text()
    files[Path("etc/murmur/image.json")] = json.dumps(about, indent=1) + "\n"
    contents = {}
    for path, text in sorted(files.items()):
        for word, value in values.items():
            text = text.replace(word, value)
        contents[str(path)] = text.encode()
    return archive.pack(contents, epoch=epoch)


def _run(command: Sequence[str], epoch: int) -> None:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(epoch), "INITRD": "No"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        before, _, error = done.stderr.partition("\nE:")
        raise ConfigError(f"mmdebstrap failed: {last_line(before)[:300]} ({error.strip()[:100]} ...)")
