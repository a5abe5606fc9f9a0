"""The first file system of a board's kernel: BusyBox, the modules it may need for its disk, and `system/init`.

    python -m firmware_scripts.initrd ROOT OUT

Debian's kernel has nearly every driver as a module, and its own initramfs takes half an hour to make under emulation;
this one takes a second, and is one for all boards: 3 MB. ROOT has busybox-static and a kernel.
"""

import gzip
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from edge.errors import ConfigError

DRIVERS = ("clk", "dma", "firmware", "gpio", "mailbox", "mmc", "phy", "pinctrl", "regulator", "reset", "soc", "virtio")
"""folders of the kernel's drivers on which a disk may depend; of an enumerated bus, so all of them are tried"""
WANTED = ("ext4", "vfat", "nls_ascii", "nls_cp437", "crc32c_generic", "virtio_blk", "usb-storage")
TABLES = ("modules.dep", "modules.alias", "modules.softdep", "modules.builtin")


def modules(folder: Path) -> list[str]:
    """Return the paths below `folder` (/lib/modules/VERSION) of the modules that go in, and of those that they need."""
    needs = {}
    for line in (folder / "modules.dep").read_text().splitlines():
        name, _, rest = line.partition(":")
        needs[name] = rest.split()
    drivers = tuple(f"kernel/drivers/{name}/" for name in DRIVERS)
    chosen = {name for name in needs if name.startswith(drivers) or Path(name).name.split(".")[0] in WANTED}
    return sorted(chosen | {need for name in chosen for need in needs[name]})


def table(name: str, text: str, chosen: list[str]) -> str:
    """Return the lines of one of the kernel's tables that concern the modules that go in."""
    if name == "modules.dep":
        return "".join(f"{line}\n" for line in text.splitlines() if line.partition(":")[0] in set(chosen))
    if name == "modules.alias":
        known = {Path(path).name.split(".")[0].replace("-", "_") for path in chosen}
        return "".join(f"{line}\n" for line in text.splitlines() if line.rpartition(" ")[2].replace("-", "_") in known)
    return text


def archive(entries: Iterator[tuple[str, int, bytes]]) -> bytes:
    """Return a cpio archive of the kind that kernels read ("newc").

    Args:
        entries: (name, mode, content) of each file and folder.
    """
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        encoded = name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(mode) else 1
        fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        out += b"070701" + b"".join(b"%08X" % value for value in fields) + encoded
        out += bytes(-len(out) % 4)
        out += content
        out += bytes(-len(out) % 4)
    return bytes(out)


def build(root: Path, init: Path) -> bytes:
    """Return the first file system, compressed.

    Args:
        root: a board's root file system.
        init: the script that becomes /init.

    Raises:
        ConfigError: `root` has no BusyBox, or not exactly one kernel.
    """
    busybox = next((path for path in (root / "bin/busybox", root / "usr/bin/busybox") if path.is_file()), None)
    kernels = sorted((root / "lib/modules").glob("*/modules.dep"))
    if busybox is None or len(kernels) != 1:
        raise ConfigError(f"{root}: expected busybox-static and one kernel's modules, found {len(kernels)} kernels")
    folder = kernels[0].parent
    chosen = modules(folder)
    files = {"init": (0o755, init.read_bytes()), "bin/busybox": (0o755, busybox.read_bytes())}
    inside = f"lib/modules/{folder.name}"
    for name in TABLES:
        files[f"{inside}/{name}"] = (0o644, table(name, (folder / name).read_text(), chosen).encode())
    for name in chosen:
        files[f"{inside}/{name}"] = (0o644, (folder / name).read_bytes())
    folders = sorted({str(parent) for name in files for parent in Path(name).parents if str(parent) != "."} | {"dev"})

    def entries() -> Iterator[tuple[str, int, bytes]]:
        for name in folders:
            yield name, stat.S_IFDIR | 0o755, b""
        for name, (mode, content) in sorted(files.items()):
            yield name, stat.S_IFREG | mode, content

    return gzip.compress(archive(entries()), 9, mtime=0)


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(build(Path(sys.argv[1]), Path(__file__).parent / "system" / "init"))
