"""The board's own affairs, at every start, as root, before the network: on a board it is /usr/lib/murmur/board.py.

Takes what was put on the card's first partition (its FAT, which any computer can write):

    murmur.tar        of `edge-broker provision`: the device's credentials and configuration, into /var/lib/murmur
    wifi.conf         of wpa_supplicant
    authorized_keys   whoever may come in over SSH, as root; without it nobody can

Secrets leave that partition for folders that only their user can read. What is wrong with any of them is written to the
serial line, in murmur-status.txt on the same partition, and by a blinking LED; the board goes on with what it has.
"""

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edge.config import NodeConfig, checked, read_toml
from edge.errors import ConfigError
from edge.operations import rollout
from edge.operations.rollout import ROLLOUT_FILE, fingerprint
from edge.storage import archive, atomic, checkpoint_files, plain_files
from edge.transports.mqtt import Credentials

CREDENTIALS = ("node.toml", "authority.crt", "device.crt", "device.key")
LARGEST = 400_000_000
"""Bytes of what an enrolment unpacks to."""
SOON = 30 * 86400
"""Seconds before a certificate's end from which on somebody is warned."""


@dataclass
class Startup:
    """One start of a board.

    root: of its file system, / on a board. user: the node's. notes: for whoever looks at the serial line. problems:
    what somebody has to put right.
    """

    root: Path
    user: str | None = "murmur"
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def card(self) -> Path:
        """The first partition."""
        return self.root / "boot" / "firmware"

    @property
    def home(self) -> Path:
        """The node's."""
        return self.root / "var" / "lib" / "murmur"

    @property
    def own(self) -> Path:
        """The board's, for root only."""
        return self.root / "var" / "lib" / "murmur-board"


def run(board: Startup) -> None:
    """Take every step in order; what is wrong with one of them does not keep the others from being done."""
    board.own.mkdir(mode=0o700, parents=True, exist_ok=True)
    recover(board)
    for step in (right_board, enrolment, settings, identity):
        try:
            step(board)
        except (ConfigError, OSError) as reason:
            board.problems.append(" ".join(str(reason).split()))


def recover(board: Startup) -> None:
    """Put right what a power cut between two renamings left behind."""
    before = board.home.with_name("murmur.before")
    if before.is_dir():
        if (board.home / "node.toml").is_file():
            atomic.remove(before)
        else:
            atomic.remove(board.home)
            before.rename(board.home)
    atomic.remove(board.home.with_name("murmur.new"))


def right_board(board: Startup) -> None:
    """Check that the image is for this board. Raises ConfigError: by its device tree it is another one."""
    about = json.loads((board.root / "etc" / "murmur" / "image.json").read_text())
    board.notes.append(f"image {about['board']} {about['version']}")
    names = (board.root / "proc" / "device-tree" / "compatible").read_bytes().decode().split("\0")
    if not set(names) & set(about["compatible"]):
        raise ConfigError(f"this image is for {about['name']}, the board says {names[0]}: write the image for it")


def enrolment(board: Startup) -> None:
    """Install murmur.tar. Raises ConfigError: it is not valid; it stays where it is, and so does the old enrolment."""
    source = board.card / "murmur.tar"
    if not source.is_file():
        return
    new, before = board.home.with_name("murmur.new"), board.home.with_name("murmur.before")
    try:
        if board.home.is_dir():  # checkpoints, and whatever the new one does not bring
            left_out = plain_files.copy(board.home, new)
            board.notes += [f"left out, as it is no plain file: {name}" for name in left_out[:5]]
        counter = rollout.read_counter(new)
        with tarfile.open(source) as provisioning:
            archive.unpack(provisioning, new, LARGEST)
        config = _checked(new, source.name)
        _renewed(board.home, new, config)
        if counter.made > rollout.read_counter(new).made:
            rollout.write_counter(new, counter)  # an old card does not bring an old rollout back
        authority = (new / "authority.crt").read_bytes()
        plain_files.give(new, board.user)
        if board.home.is_dir():
            board.home.rename(before)
        new.rename(board.home)
    except (tarfile.TarError, EOFError, ValueError) as reason:
        raise ConfigError(f"murmur.tar on the card is not all there, or not right ({reason}): copy it anew") from None
    finally:
        atomic.remove(new)
    os.sync()
    atomic.remove(before)
    (board.own / "authority.crt").write_bytes(authority)
    _forget(source)
    board.notes.append(f"enrolled as {config.id or config.role} of {config.fleet}")


def _renewed(home: Path, new: Path, config: NodeConfig) -> None:
    """Set the checkpoints aside if the model is another one: the node could not start with them."""
    if fingerprint(home / config.bundle) not in ("", fingerprint(new / config.bundle)):
        (new / config.bundle / ROLLOUT_FILE).unlink(missing_ok=True)  # of a rollout before this
        if config.checkpoint is not None:
            checkpoint_files.set_aside(new / config.checkpoint)


def settings(board: Startup) -> None:
    """Install the settings of Wi-Fi and the keys for SSH. Raises ConfigError: a file is empty."""
    for name in ("wifi.conf", "authorized_keys"):
        source, target = board.card / name, board.own / name
        if source.is_file():
            content = source.read_bytes()
            if not content.strip():
                raise ConfigError(f"{name} on the card is empty")
            aside = target.with_name(f".{name}.part")
            aside.write_bytes(content)
            aside.chmod(0o600)
            aside.replace(target)
            os.sync()
            _forget(source)
            board.notes.append(f"took {name}")


def identity(board: Startup) -> None:
    """Set the name and the clock of an enrolled board, and check its certificate.

    Raises:
        ConfigError: it is not enrolled, or its certificate has expired.
    """
    if not (board.home / "node.toml").is_file():
        raise ConfigError("not enrolled: put murmur.tar (edge-broker provision) on the card's first partition")
    config = _checked(board.home, str(board.home))
    name = config.id or config.role
    if board.root == Path("/"):
        socket.sethostname(name.replace("_", "-").replace(".", "-"))
    since, until = _valid(board.home / "device.crt")
    if time.time() < since and board.root == Path("/"):
        # No clock keeps time without power. It is certainly later than this; the network will say more precisely.
        time.clock_settime(time.CLOCK_REALTIME, since + 86400)
    left = until - time.time()
    board.notes.append(f"{name} of {config.fleet}, let in until {time.strftime('%Y-%m-%d', time.gmtime(until))}")
    if left < 0:
        raise ConfigError(f"the certificate of {name} has expired: enrol it again, and put its murmur.tar on the card")
    if left < SOON:
        board.problems.append(f"the certificate of {name} expires in {left / 86400:.0f} days: enrol it again")


def _checked(folder: Path, name: str) -> NodeConfig:
    """Return the configuration in a folder, if it holds a device's credentials, as plain files: root reads them."""
    if missing := [name for name in CREDENTIALS if not (folder / name).is_file()]:
        raise ConfigError(f"{name} has no {', '.join(missing)}: make it with edge-broker provision")
    for file in CREDENTIALS:
        plain_files.require(folder / file)
    config = checked(NodeConfig, read_toml(folder / "node.toml"), f"{name}: node.toml")
    try:
        Credentials.of_folder(folder).context()
    except ConfigError as reason:
        raise ConfigError(f"{name}: certificate and key do not fit together ({reason}): enrol it again") from None
    return config


def _valid(certificate: Path) -> tuple[float, float]:
    """Return from when until when a certificate is valid, in seconds since 1970."""
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-startdate", "-enddate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"{certificate.name} is no certificate: enrol it again")
    since, until = (line.partition("=")[2] for line in done.stdout.splitlines()[:2])
    return ssl.cert_time_to_seconds(since), ssl.cert_time_to_seconds(until)


def _forget(file: Path) -> None:
    """Remove a secret from the card, overwriting it first as far as cards allow."""
    with file.open("r+b") as content:
        content.write(bytes(file.stat().st_size))
        content.flush()
        os.fsync(content.fileno())
    file.unlink()


def show(board: Startup) -> None:
    """Show notes and problems on the serial line, on the card and by the LED."""
    lines = [*board.notes, *(f"PUT RIGHT: {line}" for line in board.problems)]
    for line in lines:
        print(f"murmur: {line}", flush=True)  # the unit sends it to the serial line, and to the journal
    with contextlib.suppress(OSError):
        if board.card.is_dir():
            (board.card / "murmur-status.txt").write_text("\r\n".join(lines) + "\r\n")
    for trigger in _leds(board.root / "sys" / "class" / "leds"):
        with contextlib.suppress(OSError):
            trigger.write_text("timer" if board.problems else "heartbeat")


def _leds(folder: Path) -> Iterator[Path]:
    """Yield the triggers of the status LEDs, by their usual names."""
    for entry in sorted(folder.glob("*")):
        if any(word in entry.name.lower() for word in ("act", "led0", "status", "work", "standby")):
            yield entry / "trigger"


def _slot(command_line: str) -> str:
    return next((word.partition("=")[2] for word in command_line.split() if word.startswith("rauc.slot=")), "A")


def main() -> int:
    """Run on a board, at every start."""
    board = Startup(Path("/"))
    run(board)
    show(board)
    Path("/run/murmur-slot").write_text(_slot(Path("/proc/cmdline").read_text()))
    return 0  # what is wrong has been shown; the rest of the board starts all the same


if __name__ == "__main__":
    sys.exit(main())
