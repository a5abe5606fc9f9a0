"""Mosquitto as a child process: loopback only, nothing kept on disk, with limits."""

import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from broker.process import Running, running
from edge.errors import TransportError

NAME = "mosquitto"
PACKET = 1_000_000
"""Bytes of the largest packet; our own are at most 512 kB and a topic."""


def program() -> str | None:
    """Return where Mosquitto is, if it is installed: Debian puts it where only root's PATH looks."""
    return shutil.which(NAME) or shutil.which(NAME, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def configuration(port: int, websockets: int | None = None) -> str:
    """Return a configuration of a broker that only this machine can reach.

    Args:
        port: for MQTT.
        websockets: a port for MQTT over WebSockets, too; none if absent.
    """
    # First, so that both answer once the other does. Without the domain the address would be taken for an interface.
    pages = f"listener {websockets} 127.0.0.1\nprotocol websockets\nsocket_domain ipv4\n" if websockets else ""
    return f"""\
{pages}listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_packet_size {PACKET}
max_inflight_messages 100
max_queued_messages 10000
set_tcp_nodelay true
log_dest stderr
log_type error
"""


def serve(port: int, folder: Path, websockets: int | None = None) -> AbstractContextManager[Running]:
    """Run it on `port` of loopback while the block lasts; `folder` takes its configuration."""
    return run(configuration(port, websockets), folder, port)


@contextmanager
def run(text: str, folder: Path, port: int) -> Iterator[Running]:
    """Run Mosquitto with a configuration while the block lasts.

    Started by root it stays root: changing the user would cancel the request to end with its parent.

    Args:
        text: the configuration, which listens on `port`.
        folder: takes the configuration.
        port: of loopback.

    Raises:
        TransportError: Mosquitto is not installed, or does not start.
    """
    command = program()
    if command is None:
        raise TransportError("there is no Mosquitto on this machine; install it with the system's package manager")
    path = folder / "mosquitto.conf"
    path.write_text(("user root\n" if os.geteuid() == 0 else "") + text)
    with running(NAME, [command, "-c", str(path)], port) as broker:
        yield broker
