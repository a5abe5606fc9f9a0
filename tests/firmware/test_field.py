"""An operator and two devices over a real Mosquitto, with TLS, certificates and the kit's access rules."""

import io
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from broker import certificates, fleet, mosquitto, rules
from broker.fleet import Fleet
from broker.process import free_port
from edge.errors import BundleError, ConfigError, MessageError
from edge.interfaces import Delivery, Traffic
from edge.messaging.chunked import PART_SIZE, Assembler, split
from edge.operations import rollout as device
from edge.operations.remote import AdministeredTransport
from edge.operations.rollout import Installer, NewBundleError
from edge.storage import checkpoint_files, metrics_log
from export import zoo
from export.write import export
from firmware_scripts import field as command
from firmware_scripts import operating, signed_package
from tests import pair
from tests.refusals import refusal

ABC = split(b"abc")[0]
TOMORROW = int(time.time()) + 86400


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> Fleet:
    folder = tmp_path_factory.mktemp("field") / "orchard"
    orchard = fleet.init(folder, "orchard", ["127.0.0.1"], free_port(None), peers=["a", "b"])
    (folder / "node.toml").write_text(pair.configuration(100_000, 5.0, 1))
    pair.model(folder / "model-1", "mlp:16")
    pair.model(folder / "model-2", "mlp:24")
    export(zoo.build("mlp:16", shape=(1, 8, 8), classes=3), folder / "other-classes")
    for name in ("a", "b", "operator"):
        home = fleet.enrol(orchard, name, 10)
        pair.model(home / "bundle", "mlp:16")
        pair.digits(home / "digits.npz", 300)
    return orchard


@pytest.fixture(scope="module")
def running(orchard: Fleet, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("broker")
    with mosquitto.run(rules.configuration(orchard.at, orchard.port, "127.0.0.1"), folder, orchard.port):
        started = []
        for name in ("a", "b"):
            words = [
                sys.executable,
                "-m",
                "edge.cli",
                "--json",
                "--config",
                f"{orchard.folder}/devices/{name}/node.toml",
            ]
            with (folder / f"{name}.log").open("w") as log:
                started.append(subprocess.Popen(words, stdout=log, stderr=log))
        try:
            with operating.connected(orchard, "127.0.0.1", orchard.port, 60) as operator:
                assert operator.until(lambda: {"a", "b"} <= operator.rows.keys(), 60), "no device does a round"
            yield orchard
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait()


def call(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], orchard: Fleet, *words: str
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["field", *words, "--fleet", str(orchard.folder)])
    code = command.main()
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_a_field_test(
    running: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Inventory, a new model in two stages, refusals of two kinds, and what was measured in between."""
    before = device.fingerprint(running.folder / "model-1")
    code, out, _ = call(monkeypatch, capsys, running, "inventory", "--json")
    rows = json.loads(out)["devices"]
    assert code == 0
    assert {rows[name]["bundle"] for name in "ab"} == {before}
    assert all(rows[name]["round"] >= 1 and rows[name]["memory_mb"] > 10 for name in "ab")
    code, out, _ = call(monkeypatch, capsys, running, "inventory")
    assert "orchard: 2 devices" in out
    assert before[:8] in out

    code, out, err = call(monkeypatch, capsys, running, "rollout", f"{running.folder}/other-classes")
    assert code == 2
    assert "field: error: a refused: " in err
    assert "nothing was sent to the rest" in err

    code, out, err = call(monkeypatch, capsys, running, "rollout", f"{running.folder}/model-2", "--stages", "1,100%")
    assert code == 0, err
    assert "stage 1 of 2: a" in err
    assert "2 of 2 devices have it" in out
    code, out, _ = call(monkeypatch, capsys, running, "inventory", "--json")
    rows = json.loads(out)["devices"]
    assert {rows[name]["bundle"] for name in "ab"} == {device.fingerprint(running.folder / "model-2")}
    home = running.folder / "devices" / "a"
    assert device.fingerprint(home / "bundle.before") == before
    assert (home / "state.before").is_dir()

    code, out, _ = call(monkeypatch, capsys, running, "collect", "-o", str(tmp_path / "collected"))
    assert code == 0
    rows = metrics_log.read(tmp_path / "collected" / "a")
    assert rows[-1]["round"] >= 1
    assert "the operator has installed model-2" in (tmp_path / "collected" / "a" / "log.txt").read_text()


# What a device does with packages, without a broker.


class Silent:
    """A transport that brings what it is given."""

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.brought: list[Delivery] = []
        self.sent: list[tuple[str, str, bytes]] = []

    def send(self, receiver: str, kind: str, payload: bytes) -> None:
        self.sent.append((receiver, kind, payload))

    def receive(self) -> list[Delivery]:
        deliveries, self.brought = self.brought, []
        return deliveries

    def backlog(self, receiver: str) -> int:
        return 0

    def wait(self, seconds: float) -> bool:
        return bool(self.brought)

    def report(self, row: object) -> None:
        pass

    def close(self) -> None:
        pass


@dataclass
class Bench:
    """A device on the bench."""

    inner: Silent
    attended: AdministeredTransport
    installer: Installer
    tried: list[Path] = field(default_factory=list)

    def brings(self, package: bytes) -> str:
        """What the device reports about it; "installed" if it begins anew."""
        self.inner.brought = [Delivery("operator", "rollout", part) for part in split(package)]
        try:
            assert self.attended.receive() == []
        except NewBundleError:
            return "installed"
        return str(json.loads(self.inner.sent[-1][2])["outcome"])


@pytest.fixture
def bench(orchard: Fleet, tmp_path: Path) -> Bench:
    here = tmp_path / "home"
    here.mkdir()
    pair.model(here / "bundle", "mlp:16")
    inner = Silent()
    installer = Installer("orchard", here, here / "bundle", orchard.folder / "authority.crt", lambda _: None, "a")
    bench = Bench(inner, AdministeredTransport(inner, "a", (), installer), installer)
    installer.trial = bench.tried.append
    return bench


def signed(orchard: Fleet, pair: certificates.Pair, about: dict[str, object], more: dict[str, bytes]) -> bytes:
    """A package with anything in it, signed by anybody."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in {"rollout.json": json.dumps(about).encode(), **more}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return signed_package.sign(out.getvalue(), pair)


def test_power_cuts_while_installing(
    orchard: Fleet, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each of them the next start comes to the same."""
    home = bench.installer.folder
    assert (
        bench.brings(signed_package.build(orchard.folder / "model-2", orchard, "model-2", 5, ["a"], TOMORROW))
        == "installed"
    )
    for number in (6, 7):
        checkpoint_files.write(home / "state", number, {"x": np.zeros(1)})
    (home / "state" / "log.txt").touch()
    allowed = [0]

    def limited(name: str) -> Callable[[Path, Path], Path]:
        whole = getattr(Path, name)

        def renamed(self: Path, target: Path) -> Path:
            if not allowed[0]:
                raise KeyboardInterrupt
            allowed[0] -= 1
            return Path(whole(self, target))

        return renamed

    monkeypatch.setattr(Path, "rename", limited("rename"))
    monkeypatch.setattr(Path, "replace", limited("replace"))
    for count in (0, 1, 1, 1):
        allowed[0] = count
        with pytest.raises(KeyboardInterrupt):
            device.finish(home / "bundle", home / "state")
    allowed[0] = 9
    device.finish(home / "bundle", home / "state")
    device.finish(home / "bundle", home / "state")
    assert device.fingerprint(home / "bundle") == device.fingerprint(orchard.folder / "model-2")
    assert device.fingerprint(home / "bundle.before") == device.fingerprint(orchard.folder / "model-1")
    assert len(list((home / "state.before").iterdir())) == 2
    assert [p.name for p in (home / "state").iterdir()] == ["log.txt"]
    assert sorted(p.name for p in home.iterdir()) == ["bundle", "bundle.before", "rollouts", "state", "state.before"]


def test_what_is_refused(orchard: Fleet, bench: Bench, tmp_path: Path) -> None:
    """And leaves everything as it was."""
    home = bench.installer.folder
    before = device.fingerprint(home / "bundle")
    signer = certificates.read(orchard.folder / "signer")
    good = signed_package.build(orchard.folder / "model-2", orchard, "model-2", 5, ["a"], TOMORROW)
    neighbour = certificates.read(orchard.folder / "devices" / "b" / "device")
    stranger = certificates.signer(certificates.authority("orchard", 1), "signer", 1)
    about: dict[str, object] = {"fleet": "orchard", "name": "x", "made": 5}
    for package, complaint in (
        (b"", "refused: not signed for this fleet"),
        (good[:-100], "refused: not signed for this fleet"),
        (good[:5000] + bytes([good[5000] ^ 1]) + good[5001:], "refused: not signed for this fleet"),
        (signed(orchard, neighbour, about, {}), "refused: not signed for this fleet"),
        (signed(orchard, stranger, about, {}), "refused: not signed for this fleet"),
        (signed_package.sign(b"no archive", signer), "refused: "),
        (signed(orchard, signer, {**about, "fleet": "other"}, {}), "refused: a package for other, this is orchard"),
        (signed(orchard, signer, {**about, "made": 0}, {}), "refused: x is older than what is installed"),
        (signed(orchard, signer, about, {"../../evil": b"x"}), "refused: '../../evil' is nothing that belongs in it"),
    ):
        assert complaint in bench.brings(package)
        assert device.fingerprint(home / "bundle") == before
        assert bench.tried == []
    assert not (tmp_path / "evil").exists()

    def unfit(_: Path) -> None:
        raise BundleError("takes samples of another shape")

    bench.installer.trial = unfit
    assert bench.brings(good) == "refused: takes samples of another shape"
    assert sorted(p.name for p in home.iterdir()) == ["bundle"]
    bench.installer.authority = None
    assert "a rollout needs [tls]" in bench.brings(good)


def test_an_older_package_cannot_come_back(orchard: Fleet, bench: Bench) -> None:
    old = signed_package.build(orchard.folder / "model-1", orchard, "old", 5, ["a"], TOMORROW)
    new = signed_package.build(orchard.folder / "model-2", orchard, "new", 6, ["a"], TOMORROW)
    assert bench.brings(new) == "installed"
    device.finish(bench.installer.bundle, None)
    assert bench.brings(old) == "refused: old is older than what is installed; make the package again"
    assert bench.brings(new) == "installed new"


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"{}", b"[1]\n", b"\xff\n", b'{"digest": 1, "part": 0, "parts": 1, "bytes": 1}\nx'),
        ABC[:-1],
        ABC.replace(b'"part": 0', b'"part": -1'),
        ABC.replace(b'"bytes": 3', b'"bytes": 3000000000'),
    ],
)
def test_no_parts(payload: bytes, bench: Bench) -> None:
    with pytest.raises(MessageError):
        Assembler().add(payload)
    bench.inner.brought = [Delivery("operator", "rollout", payload), Delivery("operator", "ask", payload)]
    assert bench.attended.receive() == []
    assert len(bench.inner.sent) == 2


def test_parts_in_any_order() -> None:
    content = np.random.default_rng(0).bytes(3 * PART_SIZE - 5)
    first, second, third = split(content)
    parts = Assembler()
    assert parts.add(third) is None
    assert parts.add(split(b"another")[0]) == b"another"
    assert [parts.add(part) for part in (third, first, first, second)] == [None, None, None, content]
    lying = split(content)
    lying[1] = lying[1][:-1] + bytes([lying[1][-1] ^ 1])
    assert [parts.add(part) for part in lying[:2]] == [None, None]
    with pytest.raises(MessageError, match="do not make what was announced"):
        parts.add(lying[2])


def test_stages() -> None:
    names = [f"d{n}" for n in range(9)]
    assert [len(stage) for stage in operating.stages(names, "1,25%,100%")] == [1, 2, 6]
    assert operating.stages(["x"], "1,25%,100%") == [["x"]]
    with pytest.raises(ConfigError, match="'half' is neither a number of devices nor a percentage"):
        operating.stages(names, "1,half")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["inventory", "--fleet", "none"], "none is no fleet's folder"),
        (["inventory", "--fleet", "ORCHARD", "--broker", "x:y"], "--broker x:y: expected HOST"),
        (["inventory", "--fleet", "ORCHARD", "--broker", "127.0.0.1:1"], "does not let the operator in"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str],
    complaint: str,
    orchard: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = [word.replace("ORCHARD", str(orchard.folder)) for word in words]
    assert complaint in refusal(command.main, "field", words, monkeypatch, capsys)


def test_no_device_may_call_itself_operator(orchard: Fleet, tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text('id = "a"\npeers = ["a", "operator"]\nbundle = "x"\n')
    command = [sys.executable, "-m", "edge.cli", "--config", str(tmp_path / "node.toml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "'operator' is no device" in done.stderr
