"""What a board does with the files that were put on its card, on a made-up root file system."""

import io
import json
import os
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from broker import certificates, fleet
from edge.errors import ConfigError
from edge.operations import rollout
from edge.operations.rollout import Counter
from edge.storage import archive, checkpoint_files
from firmware_scripts import board as boards
from firmware_scripts.system import board as device
from firmware_scripts.system.board import Startup

SOUND = 'name = "x"\nsuite = "bookworm"\nconsole = "c"\n'
SECRET = b"SECRET KEY MATERIAL"


@pytest.fixture(scope="module")
def orchard(tmp_path_factory: pytest.TempPathFactory) -> fleet.Fleet:
    orchard = fleet.init(tmp_path_factory.mktemp("fleet") / "orchard", "orchard", ["h"], 1, peers=["a", "b"])
    fleet.enrol(orchard, "a", 100)
    return orchard


@pytest.fixture
def tar(orchard: fleet.Fleet, tmp_path: Path) -> Path:
    bundle = tmp_path / "exported"
    bundle.mkdir()
    (bundle / "manifest.json").write_text("{}")
    fleet.provision(orchard, "a", {"bundle": bundle}, tmp_path / "murmur.tar")
    return tmp_path / "murmur.tar"


@pytest.fixture
def board(tmp_path: Path) -> Startup:
    startup = Startup(tmp_path / "root", user=None)
    for name in ("boot/firmware", "var/lib", "etc/murmur", "proc/device-tree", "sys/class/leds/ACT", "dev"):
        (startup.root / name).mkdir(parents=True)
    about = {"board": "rpi4", "name": "Raspberry Pi 4", "compatible": ["raspberrypi,4-model-b"], "version": "1"}
    (startup.root / "etc/murmur/image.json").write_text(json.dumps(about))
    (startup.root / "proc/device-tree/compatible").write_bytes(b"raspberrypi,4-model-b\0brcm,bcm2711\0")
    return startup


def put(board: Startup, tar: Path) -> None:
    (board.card / "murmur.tar").write_bytes(tar.read_bytes())


def started(board: Startup) -> Startup:
    """After one more start."""
    again = Startup(board.root, board.user)
    device.run(again)
    return again


def test_enrolment_moves_secrets_off_the_card(board: Startup, tar: Path) -> None:
    put(board, tar)
    startup = started(board)
    assert startup.problems == []
    assert "enrolled as a of orchard" in startup.notes
    assert not (board.card / "murmur.tar").exists()
    assert (board.home / "device.key").stat().st_mode & 0o777 == 0o600
    assert board.home.stat().st_mode & 0o777 == 0o700
    assert (board.home / "bundle" / "manifest.json").is_file()
    assert (board.own / "authority.crt").read_bytes() == (board.home / "authority.crt").read_bytes()
    assert started(board).problems == []


def test_a_new_enrolment_keeps_checkpoints(board: Startup, tar: Path) -> None:
    put(board, tar)
    started(board)
    (board.home / "state").mkdir()
    (board.home / "state" / "round").write_text("7")
    put(board, tar)
    assert started(board).problems == []
    assert (board.home / "state" / "round").read_text() == "7"


def test_a_new_enrolment_with_another_model(board: Startup, orchard: fleet.Fleet, tar: Path, tmp_path: Path) -> None:
    """Checkpoints of the model before would keep the node from starting."""
    put(board, tar)
    started(board)
    checkpoint_files.write(board.home / "state", 7, {"x": np.zeros(1)})
    (board.home / "bundle" / "rollout.json").write_text("{}")
    put(board, tar)
    assert started(board).problems == []
    assert checkpoint_files.read(board.home / "state") is not None
    assert (board.home / "bundle" / "rollout.json").exists()
    (tmp_path / "exported" / "manifest.json").write_text('{"another": 1}')
    fleet.provision(orchard, "a", {"bundle": tmp_path / "exported"}, tar)
    put(board, tar)
    assert started(board).problems == []
    assert checkpoint_files.read(board.home / "state") is None
    assert checkpoint_files.read(board.home / "state.before") is not None
    assert not (board.home / "bundle" / "rollout.json").exists()


def test_without_enrolment(board: Startup) -> None:
    (why,) = started(board).problems
    assert why == "not enrolled: put murmur.tar (edge-broker provision) on the card's first partition"


def entry(name: str, content: bytes = b"x", kind: bytes = tarfile.REGTYPE) -> Callable[[tarfile.TarFile], None]:
    def add(archive: tarfile.TarFile) -> None:
        member = tarfile.TarInfo(name)
        member.type, member.size, member.linkname = kind, len(content) if kind == tarfile.REGTYPE else 0, "/etc/shadow"
        archive.addfile(member, io.BytesIO(content))

    return add


@pytest.mark.parametrize(
    ("add", "complaint"),
    [
        (entry("../../etc/passwd"), "'../../etc/passwd' is nothing that belongs in it"),
        (entry("/etc/passwd"), "is nothing that belongs in it"),
        (entry("bundle/link", kind=tarfile.SYMTYPE), "'bundle/link' is nothing that belongs in it"),
        (entry("bundle/pipe", kind=tarfile.FIFOTYPE), "is nothing that belongs in it"),
        (entry("node.toml", b"peers = ["), "node.toml is not valid TOML"),
        (entry("node.toml", b'id = "a"'), "node.toml: peers: Field required"),
        (entry("device.key", b"no key"), "certificate and key do not fit together"),
    ],
)
def test_bad_enrolments_change_nothing(
    add: Callable[[tarfile.TarFile], None], complaint: str, board: Startup, tar: Path
) -> None:
    put(board, tar)
    started(board)
    before = {path: path.read_bytes() for path in board.home.rglob("*") if path.is_file()}
    put(board, tar)
    with tarfile.open(board.card / "murmur.tar", "a") as archive:
        add(archive)
    startup = started(board)
    assert any(complaint in line for line in startup.problems), startup.problems
    assert {path: path.read_bytes() for path in board.home.rglob("*") if path.is_file()} == before
    assert (board.card / "murmur.tar").exists()
    assert not (board.root / "etc" / "passwd").exists()
    assert sorted(p.name for p in board.home.parent.iterdir()) == ["murmur", "murmur-board"]


@pytest.mark.parametrize("size", [0, 100, 700, 3000, 9000])
def test_a_truncated_enrolment(size: int, board: Startup, tar: Path) -> None:
    (board.card / "murmur.tar").write_bytes(tar.read_bytes()[:size])
    startup = started(board)
    assert any("murmur.tar" in line for line in startup.problems), startup.problems
    assert not board.home.exists()


def test_an_archive_that_unpacks_to_too_much(board: Startup, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "LARGEST", 1000)
    put(board, tar)
    assert "at most 1,000" in started(board).problems[0]


@pytest.mark.parametrize("cut", ["before the old one is aside", "before the new one is there", "after"])
def test_a_power_cut_while_enrolling(cut: str, board: Startup, tar: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(board, tar)
    started(board)
    put(board, tar)
    rename = Path.rename
    order = ["before the old one is aside", "before the new one is there"]

    def renamed(self: Path, target: Path) -> Path:
        if order and order.pop(0) == cut:
            raise KeyboardInterrupt
        return rename(self, target)

    def forgotten(_: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", renamed)
        patch.setattr(device, "_forget", forgotten)
        with pytest.raises(KeyboardInterrupt):
            started(board)
    startup = started(board)
    assert startup.problems == []
    assert "enrolled as a of orchard" in startup.notes
    assert sorted(p.name for p in board.home.parent.iterdir()) == ["murmur", "murmur-board"]


def test_another_board(board: Startup, tar: Path) -> None:
    put(board, tar)
    (board.root / "proc/device-tree/compatible").write_bytes(b"raspberrypi,3-model-b\0brcm,bcm2837\0")
    startup = started(board)
    assert startup.problems == [
        "this image is for Raspberry Pi 4, the board says raspberrypi,3-model-b: write the image for it"
    ]
    assert (board.home / "node.toml").is_file()


@pytest.mark.parametrize(
    ("days", "complaint"), [(-1, "has expired: enrol it again"), (10, "expires in 10 days: enrol it again")]
)
def test_certificates_that_end(days: int, complaint: str, orchard: fleet.Fleet, board: Startup, tar: Path) -> None:
    put(board, tar)
    started(board)
    (board.home / "device.key").unlink()
    until = datetime.now(UTC) + timedelta(days=days, hours=1)
    certificates.device(orchard.authority(), "a", 0, until=until).write(board.home / "device")
    assert any(complaint in line for line in started(board).problems)


def test_wifi_and_keys(board: Startup) -> None:
    (board.card / "wifi.conf").write_bytes(SECRET)
    (board.card / "authorized_keys").write_text("ssh-ed25519 AAAA")
    started(board)
    assert (board.own / "wifi.conf").read_bytes() == SECRET
    assert (board.own / "wifi.conf").stat().st_mode & 0o777 == 0o600
    assert list(board.card.iterdir()) == []
    (board.card / "wifi.conf").write_text("\n")
    assert "wifi.conf on the card is empty" in started(board).problems
    assert (board.own / "wifi.conf").read_bytes() == SECRET


def test_what_is_wrong_is_shown(board: Startup) -> None:
    (board.root / "sys/class/leds/ACT/trigger").touch()
    startup = started(board)
    device.show(startup)
    status = (board.card / "murmur-status.txt").read_text()
    assert "image rpi4 1" in status
    assert "PUT RIGHT: not enrolled" in status
    assert (board.root / "sys/class/leds/ACT/trigger").read_text() == "timer"
    startup.problems.clear()
    device.show(startup)
    assert (board.root / "sys/class/leds/ACT/trigger").read_text() == "heartbeat"


def test_certificates_are_good_from_the_day_before() -> None:
    """A day before they are made, for clocks that stand still without power."""
    assert timedelta(days=1) <= certificates.SKEW


@pytest.mark.parametrize("name", boards.names())
def test_every_board(name: str) -> None:
    spec = boards.load(name)
    assert spec.console
    assert spec.boot or spec.raw or name == "virt"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{SOUND}compatible = []", "compatible: "),
        (f'{SOUND}compatible = ["x"]\n[raw]\n100 = "x"', "raw: 100 is not a multiple"),
        ('name = "x"\ncolour = "red"', "colour: no such key"),
    ],
)
def test_boards_that_cannot_be(text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "FOLDER", tmp_path)
    (tmp_path / "new.toml").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        boards.load("new")
    with pytest.raises(ConfigError, match="--board old: there are: new"):
        boards.load("old")


def test_links_of_the_nodes_folder_lead_nowhere(board: Startup, tar: Path, tmp_path: Path) -> None:
    """Root copies the folder of a user who is not trusted: a link would give any file of the board to that user."""
    put(board, tar)
    started(board)
    (tmp_path / "shadow").write_text("root's secret")
    (tmp_path / "shadow").chmod(0o640)
    (board.home / "state").mkdir()
    (board.home / "state" / "kept").write_text("7")
    for place in (board.home / "leak", board.home / "state" / "leak", board.home / "bundle" / "leak"):
        place.symlink_to(tmp_path / "shadow")
    (board.home / "dangling").symlink_to(tmp_path / "nowhere")
    (board.home / "folder").symlink_to(tmp_path)
    os.mkfifo(board.home / "pipe")
    os.link(tmp_path / "shadow", board.home / "second-name")
    put(board, tar)
    startup = started(board)
    assert startup.problems == []
    assert not (board.card / "murmur.tar").exists()
    names = {str(path.relative_to(board.home)) for path in board.home.rglob("*")}
    assert "state/kept" in names
    assert not names & {"leak", "state/leak", "bundle/leak", "dangling", "folder", "pipe", "second-name"}
    assert (tmp_path / "shadow").stat().st_mode & 0o777 == 0o640
    assert any("left out, as it is no plain file: dangling" in note for note in startup.notes)


@pytest.mark.parametrize("name", device.CREDENTIALS)
def test_credentials_that_are_links_are_not_read(name: str, board: Startup, tar: Path, tmp_path: Path) -> None:
    put(board, tar)
    started(board)
    (tmp_path / "secret").write_bytes((board.home / name).read_bytes())
    (board.home / name).unlink()
    (board.home / name).symlink_to(tmp_path / "secret")
    assert "a plain file was expected" in started(board).problems[0]
    put(board, tar)
    assert started(board).problems == []  # and the next enrolment puts it right


def test_an_archive_cannot_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "a").symlink_to(tmp_path / "victim")
    with (
        tarfile.open(fileobj=io.BytesIO(archive.pack({"a": b"x"}))) as content,
        pytest.raises(OSError, match="symbolic links"),
    ):
        archive.unpack(content, tmp_path / "target", 100)
    assert not (tmp_path / "victim").exists()


def test_an_old_card_does_not_bring_an_old_rollout_back(board: Startup, tar: Path) -> None:
    put(board, tar)
    started(board)
    rollout.write_counter(board.home, Counter(7, 1, "x"))
    put(board, tar)
    assert started(board).problems == []
    assert rollout.read_counter(board.home) == Counter(7, 1, "x")
