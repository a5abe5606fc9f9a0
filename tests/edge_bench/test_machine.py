"""What a machine tells: energy, sensors, and what a TCP connection has carried."""

import contextlib
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.errors import ConfigError
from edge_bench import power, tcp
from tests.waiting import eventually


def rapl(root: Path, *zones: tuple[int, int]) -> None:
    for i, (energy, most) in enumerate(zones):
        zone = root / "class" / "powercap" / f"intel-rapl:{i}"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "energy_uj").write_text(f"{energy}\n")
        (zone / "max_energy_range_uj").write_text(f"{most}\n")


def test_the_processors_counters(tmp_path: Path) -> None:
    """The second of the two has begun anew: 1,000,000 from 900,000 to 100,000 are 200,001."""
    (tmp_path / "class" / "powercap" / "intel-rapl:0:0").mkdir(parents=True)  # a part of a package counts twice
    (tmp_path / "class" / "powercap" / "intel-rapl:0:0" / "energy_uj").write_text("7")
    rapl(tmp_path, (500_000, 1_000_000), (900_000, 1_000_001))
    meter = power.meter(root=tmp_path)
    assert meter is not None
    assert meter.name == "RAPL"
    begin = meter.mark()
    rapl(tmp_path, (1_700_000, 1_000_000), (100_000, 1_000_001))
    assert meter.joules(begin, meter.mark()) == pytest.approx(1.2 + 0.200001)


def test_nothing_that_measures(tmp_path: Path) -> None:
    assert power.meter(root=tmp_path) is None
    assert power.state(tmp_path) == power.MachineState(throttled=power.state().throttled)


def test_a_power_meters_file(tmp_path: Path) -> None:
    """2 W for ten seconds, then rising to 4 W over ten more."""
    path = tmp_path / "watts.csv"
    path.write_text("seconds,watts\n# kitchen scale\n100,2\n110,2\n120,4\n12")
    meter = power.meter(path)
    assert meter is not None
    assert meter.joules(100, 120) == pytest.approx(20 + 30)
    assert meter.joules(105, 115) == pytest.approx(5 * 2 + 5 * 2.5)
    assert meter.joules(112, 113) == pytest.approx(2.5)
    assert meter.joules(99, 110) is None
    assert meter.joules(110, 121) is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("1,2\nwatts\n3,4\n", "line 2: 'watts' is not seconds,watts"),
        ("2,2\n1,2\n", "its times go backwards"),
    ],
)
def test_files_of_no_power_meter(content: str | None, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "watts.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        power.meter(path)


def test_sensors(tmp_path: Path) -> None:
    for i, heat in enumerate((41_000, 52_500)):
        zone = tmp_path / "class" / "thermal" / f"thermal_zone{i}"
        zone.mkdir(parents=True)
        (zone / "temp").write_text(f"{heat}\n")
    clock = tmp_path / "devices" / "system" / "cpu" / "cpu0" / "cpufreq"
    clock.mkdir(parents=True)
    (clock / "scaling_cur_freq").write_text("1500000\n")
    state = power.state(tmp_path)
    assert (state.temperature, state.megahertz) == (52.5, 1500.0)


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("throttled=0x0\n", []),
        ("throttled=0x5\n", ["under-voltage", "throttled"]),
        ("throttled=0x50001", ["under-voltage", "throttled, earlier"]),
        ("VCHI initialization failed", None),
    ],
)
def test_flags_of_a_raspberry_pi(line: str, means: list[str] | None) -> None:
    assert power.flags(line) == means


@contextlib.contextmanager
def connected() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as one:
        other, _ = listener.accept()
        with other:
            yield one, other


def exchange(one: socket.socket, other: socket.socket) -> None:
    for n in (1, 1000, 5):
        one.sendall(bytes(n))
        other.recv(n, socket.MSG_WAITALL)
    other.sendall(bytes(70))
    one.recv(70, socket.MSG_WAITALL)


def test_what_a_connection_has_carried() -> None:
    with connected() as (one, other):
        exchange(one, other)
        ours, theirs = tcp.carried(one), tcp.carried(other)
    assert (ours.sent, ours.received) == (1006, 70) == (theirs.received, theirs.sent)
    assert ours.segments_sent >= 3


def test_headers_are_as_long_as_a_capture_says() -> None:
    """Every IPv4 packet between the two on loopback, by its own length; the handshake's two have 8 bytes more."""
    try:
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    except PermissionError:
        pytest.skip("a capture is root's")
    with tap:
        tap.bind(("lo", 0x0800))
        tap.settimeout(0.2)
        with connected() as (one, other):
            ends = one.getsockname()[1], other.getsockname()[1]
            exchange(one, other)
            lengths: list[int] = []

            def complete() -> bool:
                for length in packets(tap, ends):
                    lengths.append(length)
                return len(lengths) == tcp.carried(one).segments_sent

            eventually(complete)
            ours = tcp.carried(one)
    assert sum(lengths) == ours.sent + tcp.HEADERS * ours.segments_sent + 8


def packets(tap: socket.socket, ends: tuple[int, int]) -> Iterator[int]:
    """Lengths of those from the first port to the second, as they arrive."""
    while True:
        try:
            packet, origin = tap.recvfrom(65536)
        except TimeoutError:
            return
        header = 4 * (packet[0] & 15)
        if origin[2] == 0 and packet[9] == 6 and struct.unpack_from("!HH", packet, header) == ends:
            yield struct.unpack_from("!H", packet, 2)[0]
