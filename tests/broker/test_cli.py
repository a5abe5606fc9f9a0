"""edge-broker as a person uses it."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker import fleet
from broker.process import free_port
from edge.transports import mqtt

COMMAND = str(Path(sys.executable).parent / "edge-broker")


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
    _, errors = process.communicate(timeout=20)
    assert (process.returncode, errors) == (0, "")


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run([COMMAND, "dev", "--port", str(port)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"edge-broker: error: port {port} cannot be used")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", ["monitor", "dashboard"])
def test_papers_are_called_credentials_now(command: str, tmp_path: Path) -> None:
    """The old name is taken, with a notice; both together are refused."""
    words = [COMMAND, command, "--broker", "mqtts://127.0.0.1:1", "--fleet", "f", "--papers", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    notice, error = done.stderr.splitlines()
    assert (
        notice
        == "edge-broker: note: '--papers' is called '--credentials' now; the old name is accepted for one release"
    )
    assert f"{tmp_path}/device.crt" in error
    done = subprocess.run([*words, "--credentials", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "both are given: keep '--credentials'" in done.stderr


def test_card_is_called_provision_now(tmp_path: Path) -> None:
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["h"], 1)
    fleet.enrol(orchard, "a", 10)
    words = ["a", "--fleet", str(orchard.folder), "-o", str(tmp_path / "murmur.tar")]
    done = subprocess.run([COMMAND, "card", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "'card' is called 'provision' now" in done.stderr
    first = (tmp_path / "murmur.tar").read_bytes()
    done = subprocess.run([COMMAND, "provision", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "murmur.tar").read_bytes() == first
