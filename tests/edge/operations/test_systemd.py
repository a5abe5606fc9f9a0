"""Signs of life for systemd."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.messaging.mailbox import Waiting
from edge.node import ALIVE_INTERVAL, Row, run
from edge.operations import systemd


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def test_systemd_is_told(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", listener.getsockname())
    systemd.notify("READY=1")
    assert listener.recv(100) == b"READY=1"


def test_a_socket_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0murmur-test-watchdog")
        monkeypatch.setenv("NOTIFY_SOCKET", "@murmur-test-watchdog")
        systemd.notify("WATCHDOG=1")
        assert listener.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize("address", ["", "/nobody/listens/here"])
def test_where_nobody_listens(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    systemd.notify("READY=1")


class Slow:
    """A transport on which something arrives after so many waits; the clock is moved by them."""

    def __init__(self, arrives: int) -> None:
        self.left, self.clock = arrives, 0.0

    def wait(self, seconds: float) -> bool:
        self.clock += seconds
        self.left -= 1
        return self.left == 0


@pytest.mark.parametrize(("arrives", "signs", "clock"), [(3, 4, 3 * ALIVE_INTERVAL), (99, 6, 5 * ALIVE_INTERVAL - 10)])
def test_a_sign_every_so_often_while_it_waits(arrives: int, signs: int, clock: float) -> None:
    """Until something arrives, or patience is over."""
    transport, given = Slow(arrives), []
    steps: list[Waiting | Row] = [Waiting(("b",), 5 * ALIVE_INTERVAL - 10), {"round": 1.0}]
    rows = list(run(iter(steps), transport, lambda: transport.clock, lambda: given.append(transport.clock)))  # type: ignore[arg-type]
    assert rows == [{"round": 1.0}]
    assert len(given) == signs
    assert transport.clock == clock
