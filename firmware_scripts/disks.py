"""Which disk a name stands for, and whether an image may be written over it. Linux, through lsblk."""

import json
import os
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.errors import ConfigError

COLUMNS = "PATH,TYPE,RM,HOTPLUG,RO,SIZE,MODEL,TRAN,MOUNTPOINTS"
CARDS = ("usb", "mmc")
"""ways of connection that a card or a stick has; built-in readers call their cards not removable"""


@dataclass(frozen=True)
class Disk:
    """What an image may be written to.

    kind: disk, part, loop, ..., as lsblk calls it, or file. mounts: where it or a part of it is in use.
    """

    path: Path
    kind: str
    size: int
    model: str = ""
    removable: bool = False
    read_only: bool = False
    mounts: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}, {self.model or 'no model'}, {self.size / 1e9:.1f} GB"


def describe(path: Path) -> Disk:
    """Describe what is at a path: a block device, or a file that stands for one (a virtual machine's, a loop's).

    Raises:
        ConfigError: there is nothing, or something else.
    """
    try:
        mode = path.stat().st_mode
    except OSError as reason:
        raise ConfigError(f"{path}: {reason.strerror}; name a device, as lsblk lists them") from None
    if stat.S_ISREG(mode):
        return Disk(path, "file", path.stat().st_size, "a file", True, not os.access(path, os.W_OK))
    if not stat.S_ISBLK(mode):
        raise ConfigError(f"{path} is neither a block device nor a file")
    command = ["lsblk", "--json", "--bytes", "--output", COLUMNS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"lsblk cannot tell about {path}: {done.stderr.strip()}")
    return parsed(done.stdout)


def parsed(text: str) -> Disk:
    """Read lsblk's JSON about one device."""
    whole: dict[str, Any] = json.loads(text)["blockdevices"][0]
    path = Path(whole["path"])
    card = whole.get("tran") in CARDS or path.name.startswith("mmcblk")
    return Disk(
        path=path,
        kind=whole["type"],
        size=int(whole["size"]),
        model=(whole.get("model") or "").strip(),
        removable=bool(whole["rm"] or whole["hotplug"] or card),
        read_only=bool(whole["ro"]),
        mounts=tuple(_mounts(whole)),
    )


def refusal(disk: Disk, size: int) -> str | None:
    """Return why an image of `size` bytes may not be written to a disk; None if it may."""
    if disk.kind not in ("disk", "loop", "file"):
        return f"{disk.path} is a {disk.kind} of a disk; name the whole disk"
    if disk.mounts:
        return f"{disk.path} is in use ({', '.join(disk.mounts)}); unmount it, if it is the right one"
    if disk.read_only:
        return f"{disk.path} cannot be written (a card's lock, or its owner)"
    if not disk.removable and disk.kind == "disk":
        return f"{disk.path} ({disk.model or 'no model'}) is built in; only cards and sticks are written"
    if disk.size < size:
        return f"{disk.path} has {disk.size:,} bytes, the image {size:,}"
    return None


def _mounts(device: dict[str, Any]) -> list[str]:
    """Of it and of all that is on it: partitions, what is encrypted or mapped there."""
    mounts = [mount for mount in device.get("mountpoints") or [] if mount]
    for child in device.get("children", []):
        mounts += _mounts(child)
    return mounts
