"""edge-broker as a person uses it."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker.process import free_port
from edge.transports import mqtt

COMMAND = Path(sys.executable).parent / "edge-broker"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dev(number: signal.Signals) -> None:
    port = free_port(None)
    process = subprocess.Popen(
        [COMMAND, "dev", "--port", str(port), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    assert facts["url"] == f"mqtt://127.0.0.1:{port}"
    mqtt.create(url=facts["url"], fleet="f", me="a", lasting=False).close()
    process.send_signal(number)
    _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([COMMAND, "dev", "--port", str(port)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"edge-broker: error: port {port} cannot be used")
    assert done.stderr.count("\n") == 1
