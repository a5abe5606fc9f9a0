"""Mosquitto for the occasion: loopback only, nothing kept on disk, with limits."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.process import Running, running

NAME = "mosquitto"
PACKET = 1_000_000
"""Bytes of the largest packet; our own are at most 512 kB and a topic."""


def program() -> str | None:
    """Where Mosquitto is, if it is: Debian puts it where only root's PATH looks."""
    return shutil.which(NAME) or shutil.which(NAME, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def as_root() -> str:
    """The line that keeps it root where root starts it: changing user would undo the order to end with its parent."""
    return "user root\n" if os.geteuid() == 0 else ""


def configuration(port: int) -> str:
    """A configuration for a broker that only this machine can reach."""
    return f"""\
{as_root()}listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_packet_size {PACKET}
max_inflight_messages 100
max_queued_messages 10000
set_tcp_nodelay true
log_dest stderr
log_type error
"""


@contextmanager
def serve(port: int, folder: Path) -> Iterator[Running]:
    """Run it on `port` with its configuration in `folder`."""
    path = folder / "mosquitto.conf"
    path.write_text(configuration(port))
    command = program()
    assert command is not None
    with running(NAME, [command, "-c", str(path)], port) as broker:
        yield broker
