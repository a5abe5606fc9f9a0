"""iotcore, the broker that pip installs (rumqttd inside): loopback only, larger payloads, small logs.

Unconfigured it listens on every address, refuses payloads over 20 kB and keeps ten segments of
100 MB per topic filter.
"""

import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from broker.process import Running, running
from edge.errors import TransportError

NAME = "iotcore"
PACKET = 1_000_000
"""Bytes of the largest payload."""


def installed() -> bool:
    """Return whether the package is installed."""
    return importlib.util.find_spec(NAME) is not None


def configuration(port: int) -> str:
    """Return a configuration of rumqttd with one MQTT 3.1.1 listener on loopback."""
    return f"""\
id = 0

[router]
id = 0
max_connections = 10010
max_outgoing_packet_count = 200
max_segment_size = {4 * PACKET}
max_segment_count = 10

[v4.1]
name = "v4"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v4.1.connections]
connection_timeout_ms = 60000
max_payload_size = {PACKET}
max_inflight_count = 100
dynamic_filters = true
"""


@contextmanager
def serve(port: int, folder: Path, websockets: int | None = None) -> Iterator[Running]:
    """Run it on `port` of loopback while the block lasts; `folder` takes its configuration.

    Raises TransportError: WebSockets are wanted, which it is not known to speak.
    """
    if websockets is not None:
        raise TransportError(f"{NAME} has no WebSockets here: install Mosquitto with the system's package manager")
    path = folder / "iotcore.toml"
    path.write_text(configuration(port))
    # The package's own child process, which ends when its standard input closes.
    code = "import sys; from iotcore._serve import main; main()"
    command = [sys.executable, "-I", "-c", code, json.dumps({"config_path": str(path)})]
    with running(NAME, command, port) as broker:
        yield broker
