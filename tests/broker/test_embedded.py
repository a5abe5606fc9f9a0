"""Brokers for the occasion."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker import cli, embedded, iotcore, mosquitto
from broker.process import free_port
from edge.errors import TransportError
from tests.conformance.test_transport import broker_or_skip
from tests.waiting import eventually


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", embedded.KINDS)
def test_listens_on_loopback_only_and_ends(kind: str) -> None:
    broker_or_skip(kind)
    with embedded.running(kind) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{broker.port}"
        with socket.create_connection(("127.0.0.1", broker.port), timeout=5):
            pass
        assert listening_addresses(broker.port) == {"127.0.0.1"}
    assert not alive(broker.pid)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", broker.port), timeout=5)


def test_websockets_are_on_loopback_only() -> None:
    broker_or_skip("mosquitto")
    pages = free_port(None)
    with embedded.running("mosquitto", websockets=pages):
        with socket.create_connection(("127.0.0.1", pages), timeout=5) as connection:
            key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            words = f"GET /mqtt HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}"
            connection.sendall(f"{words}Sec-WebSocket-Protocol: mqtt\r\n\r\n".encode())
            assert b"101 Switching Protocols" in connection.recv(200)
        assert listening_addresses(pages) == {"127.0.0.1"}


def test_websockets_that_cannot_be() -> None:
    broker_or_skip("mosquitto")
    with pytest.raises(TransportError, match="iotcore has no WebSockets"), embedded.running("iotcore", websockets=9001):
        pass
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        complaint = f"port {port} cannot be used .*--websockets"
        with pytest.raises(TransportError, match=complaint), embedded.running("mosquitto", websockets=port):
            pass


@pytest.mark.parametrize("port", ["0", "70000", "1883"])
def test_no_port_for_websockets(port: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["edge-broker", "dev", "--websockets", port])
    assert cli.main() == 2
    assert f"--websockets {port}: expected a port" in capsys.readouterr().err


def listening_addresses(port: int) -> set[str]:
    """Local addresses on which `port` is listened to, from the kernel's table."""
    addresses = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        local, state = line.split()[1], line.split()[3]
        address, number = local.split(":")
        if state == "0A" and int(number, 16) == port:
            addresses.add(socket.inet_ntoa(bytes.fromhex(address)[::-1]))
    return addresses


@pytest.mark.parametrize("kind", embedded.KINDS)
def test_a_port_in_use(kind: str) -> None:
    broker_or_skip(kind)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=f"port {port} cannot be used"), embedded.running(kind, port):
            pass


def test_mosquitto_is_preferred_and_iotcore_is_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mosquitto, "program", lambda: None)
    assert embedded.available() == ["iotcore"]
    with embedded.running() as broker:
        assert broker.name == "iotcore"
    monkeypatch.setattr(iotcore, "installed", lambda: False)
    with pytest.raises(TransportError, match="there is no broker on this machine: install"), embedded.running():
        pass


def test_a_broker_that_does_not_come_up_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    broker_or_skip("mosquitto")
    monkeypatch.setattr(mosquitto, "configuration", lambda port, _: f"listener {port} 127.0.0.1\nnonsense yes\n")
    with (
        pytest.raises(TransportError, match=r"mosquitto ended at once with code \d+: .*nonsense"),
        embedded.running("mosquitto"),
    ):
        pass


@pytest.mark.parametrize("kind", embedded.KINDS)
def test_it_ends_when_its_parent_is_killed(kind: str) -> None:
    broker_or_skip(kind)
    code = (
        "import sys, time; from broker import embedded\n"
        f"with embedded.running({kind!r}) as b: print(b.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    eventually(lambda: not running(pid))


def running(pid: int) -> bool:
    """Alive, and not just waiting to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
