"""`make image-test`: the image of the board `virt`, from its first start to an update that fails.

The whole of it, as on a card: U-Boot chooses the slot, systemd starts the node, which trains, and learns over TLS with
a device of this machine. Serial logs are kept in `.image-test/`.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from broker import fleet, mosquitto, probe, rules
from broker.fleet import Fleet
from broker.probe import ProbeClient
from broker.process import free_port
from edge.transports.mqtt import Credentials
from firmware_scripts import build, operating, signed_package, virtual, wheelhouse
from firmware_scripts.virtual import HOST, VirtualBoard
from tests import pair

KEPT = wheelhouse.ROOT / ".image-test"
START = 300.0
"""Seconds that a start may take under emulation, on a busy machine."""


@dataclass
class Field:
    """A fleet with a broker that runs, one device here, and one on an emulated board."""

    fleet: Fleet
    monitor: ProbeClient
    folder: Path
    update: Path
    image: Path
    rows: dict[str, list[dict[str, float]]] = field(default_factory=dict)

    def last(self, device: str) -> dict[str, float]:
        """Its last row of telemetry."""
        rows = [json.loads(row) for topic, row in self.monitor.messages if topic.endswith(f"/telemetry/{device}")]
        return dict(rows[-1]) if rows else {}

    def rounds(self, device: str, more: int, seconds: float = START) -> tuple[float, float]:
        """Wait until it has done so many rounds from now on; the first of them, and the last."""
        del self.monitor.messages[:]
        assert self.monitor.until(lambda: bool(self.last(device)), seconds), f"{device} says nothing"
        first = self.last(device)["round"]
        assert self.monitor.until(lambda: self.last(device)["round"] >= first + more, seconds), f"{device} got stuck"
        return first, self.last(device)["round"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Field]:
    KEPT.mkdir(exist_ok=True)
    folder = tmp_path_factory.mktemp("site")
    port = free_port(None)
    orchard = fleet.init(folder / "orchard", "orchard", [HOST, "127.0.0.1"], port)
    (orchard.folder / "node.toml").write_text(pair.configuration(100_000, 60.0, 10))
    for device in ("a", "b", "monitor", "operator"):
        fleet.enrol(orchard, device, 10)
    pair.digits(folder / "digits.npz", 500)
    bundle = pair.model(folder / "bundle", "mlp:32")
    pair.model(folder / "larger", "mlp:48")
    more = {"bundle": bundle.path, "digits.npz": folder / "digits.npz"}
    fleet.provision(orchard, "a", more, folder / "murmur.tar")
    here = orchard.folder / "devices" / "b"
    for name, path in more.items():
        shutil.copytree(path, here / name) if path.is_dir() else shutil.copy(path, here / name)
    text = (here / "node.toml").read_text().replace(HOST, "127.0.0.1")
    (here / "node.toml").write_text(text)
    built = build.build("virt", folder / "virt.img", KEPT / "packages.tar", orchard.folder, print)
    assert built.update is not None
    watcher = Credentials.of_folder(orchard.folder / "devices" / "monitor")
    settings = rules.configuration(orchard.at, port, "127.0.0.1")
    with (
        mosquitto.run(settings, folder, port),
        probe.connect("127.0.0.1", port, watcher, "monitor") as monitor,
    ):
        assert monitor.subscribe(f"fleet/{orchard.name}/telemetry/+").startswith("Granted")
        yield Field(orchard, monitor, folder, Path(built.update), Path(built.image))


@pytest.fixture(scope="module")
def board(site: Field) -> Iterator[VirtualBoard]:
    with virtual.inserted(site.image, site.folder) as board:
        try:
            yield board
        finally:
            board.off()
            shutil.copy(board.serial, KEPT / "serial.log")


@pytest.fixture(scope="module")
def neighbour(site: Field) -> Iterator[None]:
    command = [sys.executable, "-m", "edge.cli", "--config", str(site.fleet.folder / "devices/b/node.toml"), "--json"]
    with (KEPT / "neighbour.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def test_a_board_without_enrolment_says_so(board: VirtualBoard) -> None:
    board.on()
    board.until("murmur: slot A, tries left: A 2, B 3", START)
    board.until("PUT RIGHT: not enrolled: put murmur.tar", START)
    board.until("slot A is good", START)
    board.off()
    assert "not enrolled" in (board.text("murmur-status.txt") or "")


def test_a_truncated_enrolment_is_refused_and_stays(site: Field, board: VirtualBoard) -> None:
    half = site.folder / "half.tar"
    half.write_bytes((site.folder / "murmur.tar").read_bytes()[:60_000])
    board.put(half, "murmur.tar")
    board.on()
    board.until("PUT RIGHT: murmur.tar on the card is not all there", START)
    board.until("slot A is good", START)
    board.off()
    assert board.text("murmur.tar") is not None


def test_first_start(site: Field, board: VirtualBoard, neighbour: None) -> None:
    """It enrols, connects, trains, and tells; its neighbour learns with it."""
    board.put(site.folder / "murmur.tar", "murmur.tar")
    board.on()
    board.until("murmur: enrolled as a of orchard", START)
    board.until("slot A is good", START)
    site.rounds("a", 3)
    assert site.last("a")["timeouts"] == 0
    assert site.last("b")["timeouts"] == 0
    assert site.last("a")["disk_free_mb"] > 250, "the last partition has not taken the rest of the card"


def test_power_cuts(site: Field, board: VirtualBoard) -> None:
    """It goes on from its checkpoint, without a clock that keeps the time too; its secrets are off the card."""
    for clock in ("utc", "1970-01-01", "utc"):
        before = site.last("a")["round"]
        board.off()
        assert board.text("murmur.tar") is None
        assert "let in until" in (board.text("murmur-status.txt") or "")
        board.on(clock)
        first, _ = site.rounds("a", 2)
        assert first > before
        assert site.last("a")["clock_unset"] == 1  # it has no time server here


def test_a_model_over_the_broker(site: Field, board: VirtualBoard) -> None:
    """Into the node's closed service: signed, tried there, and at work; its neighbour goes on with another model."""
    with operating.connected(site.fleet, "127.0.0.1", site.fleet.port, START) as operator:
        rows = operating.inventory(operator, START)
        assert (rows["a"]["board"], rows["a"]["outcome"]) == ("virt", "")
        package = signed_package.make(site.folder / "larger", site.fleet, ["a"], 1)
        operating.rollout(operator, package, [["a"]], 2, START, print)
        print(f"resident memory of the node: {operator.rows['a']['memory_mb']} MB")
    assert site.rounds("b", 1)


def test_an_update_of_somebody_else_is_refused(site: Field, board: VirtualBoard) -> None:
    other = fleet.init(site.folder / "other", "other", ["x"], 1)
    foreign = _bundle(site, other, "foreign")
    board.off()
    board.put(foreign, "update.raucb")
    board.on()
    board.until("slot A is good", START)
    board.until("update refused: signature verification failed", START)
    site.rounds("a", 1)


def test_an_update(site: Field, board: VirtualBoard) -> None:
    board.off()
    before = site.last("a")["round"]
    board.put(site.update, "update.raucb")
    board.on()
    board.until("updated; starting the other slot", 2 * START)
    board.until("murmur: slot B, tries left: A 3, B 2", START)
    board.until("slot B is good", START)
    first, _ = site.rounds("a", 2)
    assert first > before
    board.off()
    assert board.text("update.raucb") is None


def test_an_update_that_does_not_start_falls_back(site: Field, board: VirtualBoard) -> None:
    broken = _bundle(site, site.fleet, "broken")
    board.put(broken, "update.raucb")
    board.on()
    board.until("updated; starting the other slot", 2 * START)
    for left in (2, 1, 0):
        board.until(f"murmur: slot A, tries left: A {left}, B 3", START)
    board.until("murmur: slot B, tries left: A 0, B 2", START)
    board.until("the update of slot A did not start; slot B goes on", START)
    board.until("slot B is good", START)
    site.rounds("a", 2)


def _bundle(site: Field, signed: Fleet, name: str) -> Path:
    """An update with no file system at all in it."""
    file = site.folder / f"{name}.img"
    file.write_bytes(np.random.default_rng(0).bytes(100_000))
    target = site.folder / f"{name}.raucb"
    build.bundle(file, "virt", name, (signed.folder / "signer.crt", signed.folder / "signer.key"), target)
    return target


def test_nothing_failed(board: VirtualBoard) -> None:
    """Of all that systemd tells on the serial line, over all starts."""
    output = board.output()
    assert "rdering cycle" not in output
    assert "Failed to start" not in output
