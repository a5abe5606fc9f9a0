"""The dashboard: what it makes of telemetry, who may change what, and how it looks in a real browser."""

import io
import json
import math
import socket
import sys
import threading
import tracemalloc
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from broker import cli, embedded, http, reports
from broker.dashboard import server, text
from broker.dashboard.state import LONGEST, FleetState
from edge.errors import ConfigError
from tests.asking import ask
from tests.waiting import eventually

BIN = Path(sys.executable).parent
TOKEN = "open sesame"


class Clock:
    def __init__(self) -> None:
        self.now = 1e9

    def __call__(self) -> float:
        return self.now


def fleet() -> tuple[FleetState, Clock]:
    clock = Clock()
    return FleetState("f", clock), clock


def report(state: FleetState, device: str, **row: float) -> None:
    state.take(f"fleet/f/telemetry/{device}", json.dumps(row).encode(), state.clock())


def alarms(state: FleetState, device: str) -> dict[str, str]:
    about = state.device(device)
    assert about is not None
    kinds: dict[str, str] = about["alarms"]
    return kinds


def test_what_devices_report_is_on_the_first_page() -> None:
    state, _ = fleet()
    row = {"round": 2, "loss": 0.5, "loss/squared_error(reference)": 0.1, "sent_to/b": 30.0, "temperature": 51.0}
    report(state, "a", **row)
    report(state, "b", round=2, loss=1.5)
    page = state.snapshot()
    assert [d["id"] for d in page["devices"]] == ["a", "b"]
    assert page["devices"][0]["temperature"] == 51
    assert page["links"] == [{"from": "a", "to": "b", "bytes": 30.0}]
    assert page["curves"]["loss"] == [(2.0, 1.0)]
    assert page["refused"] == 0
    assert (state.device("a") or {})["row"]["loss/squared_error(reference)"] == 0.1
    assert state.device("nobody") is None


def test_silent_is_who_is_gone_or_late() -> None:
    state, clock = fleet()
    for number in range(5):
        report(state, "a", round=number)
        clock.now += 10
    clock.now += 15
    assert not alarms(state, "a")  # twice as late as it usually is
    clock.now += 10
    assert "nothing heard for 35 s" in alarms(state, "a")["silent"]
    report(state, "a", round=5)
    assert not alarms(state, "a")
    state.take("fleet/f/status/a", b"offline", clock.now)
    assert alarms(state, "a")["silent"] == "offline (last will)"
    assert state.acknowledge("a")
    assert not alarms(state, "a")
    state.take("fleet/f/status/a", b"online", clock.now)
    state.take("fleet/f/status/a", b"offline", clock.now)
    assert "silent" in alarms(state, "a")


@pytest.mark.parametrize("loss", [math.nan, 9.0])
def test_diverging_is_who_was_much_better(loss: float) -> None:
    state, _ = fleet()
    for value in (2.3, 0.9, 2.5, loss):
        assert not (state.device("a") and alarms(state, "a"))
        report(state, "a", round=1, loss=value)
    assert "diverging" in alarms(state, "a")


def test_rejected_stays_until_it_is_acknowledged() -> None:
    state, _ = fleet()
    report(state, "a", round=1, refused_malformed=2, rejected_invalid=1)
    assert alarms(state, "a") == {"rejected": "3 messages refused"}
    state.acknowledge("a")
    assert not alarms(state, "a")
    report(state, "a", round=2, refused_malformed=2, rejected_invalid=1)
    assert not alarms(state, "a")
    report(state, "a", round=3, refused_malformed=5, rejected_invalid=1)
    assert alarms(state, "a") == {"rejected": "3 messages refused"}
    assert state.forget("a")
    assert not state.forget("a")
    assert not state.acknowledge("a")


def test_curves_are_bounded_and_what_is_done_again_counts_once() -> None:
    state, _ = fleet()
    for number in range(5 * LONGEST):
        report(state, "a", round=number, loss=1.0)
    report(state, "a", round=1000, loss=2.0)
    curve = (state.device("a") or {})["curves"]["loss"]
    assert len(curve) <= LONGEST
    assert curve[-1] == (1000.0, 2.0)
    assert [number for number, _ in curve] == sorted({number for number, _ in curve})
    assert len(state.snapshot()["curves"]["loss"]) <= 2 * LONGEST


@given(st.text(max_size=60), st.binary(max_size=200))
def test_anything_may_arrive(topic: str, payload: bytes) -> None:
    state, _ = fleet()
    for where in (topic, f"fleet/f/status/{topic}", f"fleet/f/telemetry/{topic}"):
        state.take(where, payload, 0.0)
    json.dumps(state.snapshot())


def test_read_only_without_a_token() -> None:
    state, _ = fleet()
    report(state, "a", round=1, refused_malformed=1)
    acknowledge = json.dumps({"do": "acknowledge"}).encode()
    with server.serving(state, "127.0.0.1", 0) as url:
        status, about, headers = ask(f"{url}api/fleet")
        assert (status, about["writable"]) == (200, False)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert ask(f"{url}api/devices/a", acknowledge, "anything")[0] == 403
        assert ask(f"{url}api/devices/b")[0] == 404
        assert ask(f"{url}../../etc/passwd")[0] == 404
    assert alarms(state, "a")
    with server.serving(state, "127.0.0.1", 0, TOKEN) as url:
        assert ask(f"{url}api/fleet")[1]["writable"]
        assert ask(f"{url}api/devices/a", acknowledge)[0] == 401
        assert ask(f"{url}api/devices/a", acknowledge, TOKEN[:-1])[0] == 401
        for body in (b"", b"[1]", b'{"do": "dance"}', bytes(5000)):
            assert ask(f"{url}api/devices/a", body, TOKEN)[0] == 400
        assert ask(f"{url}api/devices/b", acknowledge, TOKEN)[0] == 404
        assert alarms(state, "a")
        assert ask(f"{url}api/devices/a", acknowledge, TOKEN)[:2] == (200, {"done": True})
    assert not alarms(state, "a")


def test_a_size_that_is_no_number_does_not_break_the_page() -> None:
    state, _ = fleet()
    state.take("fleet/f/telemetry/a", b'{"round": 1, "sent_to/b": NaN, "sent_to/c": 5, "loss": NaN}', 1e9)
    with server.serving(state, "127.0.0.1", 0) as url:
        status, page, _ = ask(f"{url}api/fleet")
        assert (status, page["links"]) == (200, [{"from": "a", "to": "c", "bytes": 5.0}])
        assert ask(f"{url}api/devices/a")[1]["row"] == {"round": 1.0, "sent_to/c": 5.0}


def test_a_port_that_is_taken() -> None:
    with (
        server.serving(fleet()[0], "127.0.0.1", 0) as url,
        pytest.raises(ConfigError, match=r"--listen 127.0.0.1:.*: Address already in use"),
        server.serving(fleet()[0], "127.0.0.1", int(url.rstrip("/").rpartition(":")[2])),
    ):
        pass


def test_many_idle_connections_take_no_thread() -> None:
    with server.serving(fleet()[0], "127.0.0.1", 0) as url, ExitStack() as stack:
        before = threading.active_count()
        address = ("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))
        for _ in range(50):
            stack.enter_context(socket.create_connection(address))
        assert ask(f"{url}api/fleet")[0] == 200
        assert threading.active_count() < before + 10


def exchange(url: str, request: bytes) -> bytes:
    """All that is answered on one connection until the server closes it."""
    address = ("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(request)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def test_a_page_under_another_name_is_refused() -> None:
    """A hostile page whose name is led here (DNS rebinding) reads nothing."""
    request = "GET /api/fleet HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n"
    with server.serving(fleet()[0], "127.0.0.1", 0, TOKEN, ["fleet.example"]) as url:
        for host in ("127.0.0.1", "localhost:8080", "LOCALHOST", "[::1]:80", "fleet.example"):
            assert exchange(url, request.format(host).encode()).startswith(b"HTTP/1.1 200"), host
        for host in ("evil.example", "127.0.0.1.evil.example", "", "[::1", "localhost@evil.example"):
            answer = exchange(url, request.format(host).encode())
            assert answer.startswith((b"HTTP/1.1 421", b"HTTP/1.1 400")), host
            assert b"devices" not in answer


def test_headers_keep_the_page_out_of_others() -> None:
    with server.serving(fleet()[0], "127.0.0.1", 0) as url:
        for path in ("", "api/fleet", "nowhere"):
            try:
                with urllib.request.urlopen(url + path, timeout=10) as answer:
                    policy = answer.headers["Content-Security-Policy"]
            except urllib.error.HTTPError as refused:
                with refused:
                    policy = refused.headers["Content-Security-Policy"]
            for directive in ("frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "default-src 'none'"):
                assert directive in policy


@pytest.mark.parametrize("path", ["/api/devices/a", "/", "/nowhere"])
@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_body_that_nobody_reads_is_not_the_next_request(path: str, method: str) -> None:
    state, _ = fleet()
    report(state, "a", round=1)
    hidden = b'POST /api/devices/a HTTP/1.1\r\nHost: localhost\r\n\r\n{"do": "forget"}'
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(hidden)}\r\n\r\n"
    with server.serving(state, "127.0.0.1", 0, TOKEN) as url:
        answer = exchange(url, head.encode() + hidden)  # it ends, as the server closes the connection
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()


def test_half_a_request_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is missing of it, its connection is closed; and more connections than the limit are turned away."""
    monkeypatch.setattr(http, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(http, "CONNECTIONS", 20)
    halves = [
        b"",
        b"GET / HTTP/1.1\r\nHost: loc",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /",
        b"POST /api/devices/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer open sesame\r\n"
        b"Content-Length: 9\r\n\r\n{",
    ]
    with server.serving(fleet()[0], "127.0.0.1", 0, TOKEN) as url:
        before = threading.active_count()
        answers = [exchange(url, half) for half in halves]
        assert (answers[0], answers[1]) == (b"", b"")
        assert answers[3].startswith(b"HTTP/1.1 400")
        assert threading.active_count() <= before
        with ExitStack() as stack:
            address = ("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))
            for _ in range(40):
                stack.enter_context(socket.create_connection(address))
        whole = b"GET /api/fleet HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        eventually(lambda: exchange(url, whole).startswith(b"HTTP/1.1 200"))


def test_the_token_is_in_a_file_or_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens: list[str | None] = []

    @contextmanager
    def serving(_: FleetState, __: str, ___: int, token: str | None, ____: list[str]) -> Iterator[str]:
        tokens.append(token)
        yield "url"

    monkeypatch.setattr(server, "serving", serving)
    monkeypatch.setattr("broker.subscriber.Listener.wait", lambda *_: None)
    (tmp_path / "token").write_text("from a file\n")
    (tmp_path / "empty").touch()
    words = ["dashboard", "--fleet", "f", "--json", "--broker"]
    with embedded.running() as broker:
        for more in ([], ["--token-file", str(tmp_path / "token")]):
            monkeypatch.setattr(sys, "argv", ["edge-broker", *words, broker.url, *more])
            assert cli.main() == 0
        monkeypatch.setenv(cli.TOKEN, "from outside")
        monkeypatch.setattr(sys, "argv", ["edge-broker", *words, broker.url])
        assert cli.main() == 0
        monkeypatch.setattr(sys, "argv", ["edge-broker", *words, broker.url, "--token", "seen by all"])
        assert cli.main() == 0
        assert "--token is now --token-file FILE" in capsys.readouterr().err
        for name, complaint in (("empty", "is empty"), ("none", "No such file")):
            monkeypatch.setattr(sys, "argv", ["edge-broker", *words, broker.url, "--token-file", str(tmp_path / name)])
            assert cli.main() == 2
            assert complaint in capsys.readouterr().err
    assert tokens == [None, "from a file", "from outside", "seen by all"]


def test_ten_thousand_devices_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes few bytes, and the curves of more devices are shorter ones."""
    state, _ = fleet()
    row = b'{"round": %d, "loss": 1, "accuracy_all": 1, "consensus_distance": 1, "temperature": 1, "memory_mb": 1}'
    tracemalloc.start()
    try:
        for number in range(500):
            state.take(f"fleet/f/telemetry/device-{number}", row % 1, 1e9)
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken / 500 * reports.MAX_DEVICES < 100e6
    monkeypatch.setattr("broker.dashboard.state.POINTS", 1000)
    state, _ = fleet()
    for number in range(40):
        for count in range(30):
            state.take(f"fleet/f/telemetry/device-{number}", row % count, 1e9)
    points = [sum(map(len, (state.device(f"device-{n}") or {})["curves"].values())) for n in range(40)]
    assert min(points) > 0
    assert sum(points) <= 40 * 5 * 8  # the shortest curves there are


def test_in_a_terminal() -> None:
    state, _ = fleet()
    for number in range(60):
        report(state, "a[1]" if number < 0 else "a", round=number, loss=3.0 - number / 30, accuracy_all=number / 60)
    report(state, "b", round=60, loss=math.nan)
    out = io.StringIO()
    Console(file=out, width=90).print(text.picture(state.snapshot(), 30))
    shown = out.getvalue()
    assert "2 of 2 online" in shown
    assert "diverging b  its loss is no number" in shown
    assert "▁" in shown
    assert "█" in shown
