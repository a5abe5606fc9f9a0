"""QEMU's board `virt`, started by U-Boot from a card that is a file.

Needs the system packages of the purposes `virtual` and `image`. The card is a copy of the image, the serial line a
file, and turning the board off is a power cut. To the board this machine's loopback is HOST.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from broker.process import end_with_parent
from edge.command import last_line
from edge.errors import ConfigError
from firmware_scripts import system_packages
from firmware_scripts.board import LOADERS

HOST = "10.0.2.2"
MORE = 256 << 20
"""bytes by which a card is larger than the image on it"""
LOADER = Path("/usr/lib/u-boot/qemu_arm64/u-boot.bin")


@dataclass
class VirtualBoard:
    """card: the image as the board has changed it; serial: a file with the serial line's output of all starts."""

    card: Path
    serial: Path
    process: "subprocess.Popen[bytes] | None" = None
    _read: int = field(default=0)

    def on(self, clock: str = "utc") -> None:
        """Switch it on. clock: what its own clock says then; boards without a battery begin in 1970.

        Raises ConfigError: packages that are not on this machine.
        """
        system_packages.require("virtual", "image")
        command = [
            "qemu-system-aarch64",
            "-M",
            "virt",
            "-cpu",
            "cortex-a72",
            "-smp",
            "2",
            "-m",
            "1024",
            "-display",
            "none",
        ]
        command += ["-bios", str(LOADER), "-drive", f"if=none,id=card,format=raw,file={self.card}"]
        command += ["-device", "virtio-blk-pci,drive=card", "-netdev", "user,id=net,restrict=off"]
        command += ["-device", "virtio-net-pci,netdev=net,romfile=", "-monitor", "none", "-device", "virtio-rng-pci"]
        command += ["-chardev", f"file,id=line,path={self.serial},append=on", "-serial", "chardev:line"]
        command += ["-rtc", f"base={clock}"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=end_with_parent
        )

    def off(self) -> None:
        """Cut its power."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def output(self) -> str:
        """Return all output of the serial line."""
        return self.serial.read_bytes().decode(errors="replace") if self.serial.exists() else ""

    def until(self, words: str, seconds: float) -> str:
        """Wait for these words on the serial line, from where the last such call ended.

        Returns:
            The output up to and including them.

        Raises:
            ConfigError: they do not come, or the board is off.
        """
        end = time.monotonic() + seconds
        while (at := self.output().find(words, self._read)) < 0:
            if self.process is None or self.process.poll() is not None:
                raise ConfigError(f"the board is off, and has not printed {words!r}: {last_line(self.output())}")
            if time.monotonic() > end:
                raise ConfigError(
                    f"no {words!r} in {seconds:.0f} s; the last of {self.serial}: {last_line(self.output())}"
                )
            time.sleep(0.2)
        begin, self._read = self._read, at + len(words)
        return self.output()[begin : self._read]

    def put(self, file: Path, name: str) -> None:
        """Copy a file onto the first partition of the card; the board is off."""
        self._mtools("mcopy", "-o", str(file), f"::{name}")

    def text(self, name: str) -> str | None:
        """Return the content of a file on the first partition; None if there is none."""
        done = subprocess.run(["mtype", "-i", f"{self.card}@@{LOADERS}", f"::{name}"], capture_output=True, check=False)
        return done.stdout.decode(errors="replace") if done.returncode == 0 else None

    def _mtools(self, program: str, *words: str) -> None:
        assert self.process is None  # two would write to one file system
        command = [program, "-i", f"{self.card}@@{LOADERS}", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigError(f"{program} failed: {last_line(done.stderr)}")


@contextmanager
def inserted(image: Path, folder: Path) -> Iterator[VirtualBoard]:
    """Give a board that is off, with a card made from an image, while the block lasts."""
    card = folder / "card.img"
    subprocess.run(["cp", "--sparse=always", str(image), str(card)], check=True)
    os.truncate(card, card.stat().st_size + MORE)
    board = VirtualBoard(card, folder / "serial.log")
    try:
        yield board
    finally:
        board.off()
