"""A broker as a child process: Mosquitto where it is installed, else iotcore, which pip installs.

Mosquitto moved 1.3 times as many messages a second and kept everything queued for a subscriber that
was killed; both only ever listen on loopback here.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker import iotcore, mosquitto
from broker.process import Running, free_port
from edge.errors import TransportError

KINDS = {mosquitto.NAME: mosquitto.serve, iotcore.NAME: iotcore.serve}


def available() -> list[str]:
    """Return those of KINDS that can be started on this machine, the preferred one first."""
    kinds = [mosquitto.NAME] if mosquitto.program() else []
    return kinds + ([iotcore.NAME] if iotcore.installed() else [])


@contextmanager
def running(kind: str = "auto", port: int | None = None, websockets: int | None = None) -> Iterator[Running]:
    """Run a broker on loopback while the block lasts; it also ends with this process.

    Args:
        kind: "mosquitto", "iotcore", or "auto" for the first that is there.
        port: any free one if absent.
        websockets: a port at which it also speaks MQTT over WebSockets, for pages; none if absent.

    Raises:
        TransportError: none is there, a port is taken, it has no WebSockets, or the broker does not come up.
    """
    kinds = available()
    chosen = next(iter(kinds), "") if kind == "auto" else kind
    if chosen not in kinds:
        raise TransportError(
            f"there is no {'broker' if kind == 'auto' else kind} on this machine: install Mosquitto with the system's "
            "package manager, or pip install 'murmur-edge[broker]'"
        )
    pages = None if websockets is None else free_port(websockets, "--websockets")
    with (
        tempfile.TemporaryDirectory(prefix="murmur-broker-") as folder,
        KINDS[chosen](free_port(port), Path(folder), pages) as broker,
    ):
        yield broker
