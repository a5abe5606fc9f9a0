"""A fleet's folder: what is in it, what is refused, and that real devices get in with it."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from cryptography import x509

from broker import certificates, cli, embedded, fleet, mosquitto, probe, rules
from broker.process import free_port
from broker.subscriber import subscribed
from edge import algorithm
from edge.errors import ConfigError
from edge.messaging import topics
from edge.operations.rollout import COUNTER, REVOKED
from edge.storage import atomic
from edge.transports import mqtt
from edge.transports.mqtt import Credentials
from export import zoo
from export.write import export
from tests.waiting import eventually


@pytest.fixture
def orchard(tmp_path: Path) -> fleet.Fleet:
    return fleet.init(tmp_path / "orchard", "orchard", ["127.0.0.1", "broker.example"], 8883, peers=["a", "b"])


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*.key")}


def test_what_is_in_it(orchard: fleet.Fleet) -> None:
    folder = fleet.enrol(orchard, "a", 30)
    assert {path.name for path in folder.iterdir()} == {"authority.crt", "device.crt", "device.key", "node.toml"}
    assert modes(orchard.folder) == {0o600}
    assert fleet.read(orchard.folder) == orchard
    certificate = certificates.read(folder / "device").certificate
    certificate.verify_directly_issued_by(orchard.authority().certificate)
    assert certificate.subject.rfc4514_string() == "CN=a"
    server = certificates.read(orchard.broker / "server").certificate
    names = server.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["broker.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert not list(orchard.folder.parent.glob(".*.part"))


def test_revoked_devices_are_on_the_list_and_may_be_enrolled_anew(orchard: fleet.Fleet) -> None:
    folder = fleet.enrol(orchard, "a", 30)
    serial = certificates.read(folder / "device").certificate.serial_number
    fleet.revoke(orchard, "a")
    revoked = x509.load_pem_x509_crl((orchard.broker / "revoked.pem").read_bytes())
    assert revoked.get_revoked_certificate_by_serial_number(serial) is not None
    assert len(revoked) == 2  # and the one of the first day
    assert "user a\ntopic deny #" in (orchard.broker / "acl").read_text()
    fleet.enrol(orchard, "a", 30)
    assert "user a\n" not in (orchard.broker / "acl").read_text()
    fleet.revoke(orchard, "a")
    assert len(x509.load_pem_x509_crl((orchard.broker / "revoked.pem").read_bytes())) == 3


def test_a_key_is_never_written_over(orchard: fleet.Fleet, tmp_path: Path) -> None:
    key = (orchard.folder / "authority.key").read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        fleet.init(orchard.folder, "orchard", ["x"], 8883)
    with pytest.raises(FileExistsError):
        orchard.authority().write(orchard.folder / "authority")
    assert (orchard.folder / "authority.key").read_bytes() == key


@pytest.mark.parametrize(
    ("device", "complaint"),
    [
        ("c", "c is not one of the peers in .*node.toml: a, b; add it there first"),
        ("a/b", "device 'a/b' must be 1 to 64 letters"),
        ("#", "must be 1 to 64 letters"),
        ("..", "begin with a letter or digit"),
        (".hidden", "begin with a letter or digit"),
    ],
)
def test_who_cannot_be_enrolled(orchard: fleet.Fleet, device: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        fleet.enrol(orchard, device, 30)
    assert list((orchard.folder / "devices").iterdir()) == []


def test_twice_is_once_too_often(orchard: fleet.Fleet) -> None:
    fleet.enrol(orchard, "a", 30)
    with pytest.raises(ConfigError, match="a is enrolled already"):
        fleet.enrol(orchard, "a", 30)
    with pytest.raises(ConfigError, match="b is not enrolled; there are: a"):
        fleet.revoke(orchard, "b")


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is no fleet's folder .*edge-broker init"):
        fleet.read(tmp_path)
    (tmp_path / "fleet.json").write_text("{}")
    with pytest.raises(ConfigError, match="not what edge-broker init wrote"):
        fleet.read(tmp_path)
    with pytest.raises(ConfigError, match="name the broker's host"):
        fleet.init(tmp_path / "new", "new", [], 8883)
    assert not (tmp_path / "new").exists()


def test_nothing_is_left_of_half_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write_private", full)
    with pytest.raises(ConfigError, match="No space left"):
        fleet.init(tmp_path / "new", "new", ["h"], 8883)
    assert list(tmp_path.iterdir()) == []


def call(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-broker", *words])
    return cli.main()


def test_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "init", "orchard", "--host", "127.0.0.1", "--devices", "a,b", "--json") == 0
    about = json.loads(capsys.readouterr().out)
    assert (about["fleet"], about["url"], about["devices"]) == ("orchard", "mqtts://127.0.0.1:8883", ["a", "b"])
    assert call(monkeypatch, "enrol", "monitor", "--fleet", "orchard") == 0
    assert "orchard/devices/monitor: copy it to the device" in capsys.readouterr().out
    assert call(monkeypatch, "revoke", "b", "--fleet", "orchard") == 0
    assert "copy revoked.pem and acl of orchard/broker" in capsys.readouterr().out
    assert call(monkeypatch, "enrol", "c", "--fleet", "orchard") == 2
    assert capsys.readouterr().err.startswith("edge-broker: error: c is not one of the peers")
    assert call(monkeypatch, "enrol", "a", "--fleet", "nowhere") == 2
    assert "make one with edge-broker init" in capsys.readouterr().err


def test_real_devices_get_in_and_learn_and_a_revoked_one_is_cut_off(tmp_path: Path) -> None:
    """As a user would: init, edit node.toml, enrol, run Mosquitto on what init wrote, edge-node on what enrol wrote."""
    port = free_port(None)
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["127.0.0.1"], port, peers=["a", "b"])
    objective = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)
    export(zoo.build("mlp:16", shape=(1, 8, 8), classes=10), tmp_path / "bundle", objective=objective)
    common = f"""
        peers = ["a", "b"]
        topology = "complete"
        bundle = "{tmp_path}/bundle"
        data = "digits"
        split = "classes:5"
        reference = "60"
        rounds = 4
        [coding]
        soft_labels = "delta:15"
    """
    (orchard.folder / "node.toml").write_text(common)
    folders = [fleet.enrol(orchard, name, 30) for name in "ab"]
    with mosquitto.run(rules.configuration(orchard.broker, port, "127.0.0.1"), orchard.broker, port):
        command = [str(Path(sys.executable).parent / "edge-node"), "--config"]
        nodes = [
            subprocess.Popen([*command, str(f / "node.toml"), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for f in folders
        ]
        for node in nodes:
            out, errors = node.communicate(timeout=120)
            assert node.returncode == 0, errors
            rows = [json.loads(line) for line in out.splitlines()]
            assert [row["timeouts"] for row in rows] == [0] * 4

        topic = "fleet/orchard/to/b/from/a/soft-labels"
        with probe.connect("127.0.0.1", port, Credentials.of_folder(folders[0]), "a") as a:
            assert a.publish(topic) != "Not authorized"
            (gone,) = [fleet.revoke(orchard, "a")]
            assert fleet.reload(orchard)
            answer = a.publish(topic)
            for _ in range(500):  # the broker reads its files when it gets to it
                if answer == "Not authorized":
                    break
                answer = a.publish(topic)
            assert answer == "Not authorized"
        with probe.connect("127.0.0.1", port, Credentials.of_folder(gone), "a") as a:
            assert not a.connected
    assert [path.name for path in (orchard.folder / "devices").iterdir()] == ["b"]


def test_a_provisioning_archive_has_all_that_a_device_starts_with(tmp_path: Path) -> None:
    """In one file that only its owner can read; what cannot be in it is refused, and then there is none."""
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["h"], 1, peers=["a", "b"])
    fleet.enrol(orchard, "a", 10)
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "manifest.json").touch()
    target = tmp_path / "murmur.tar"
    fleet.provision(orchard, "a", {"bundle": tmp_path / "exported"}, target)
    fleet.provision(orchard, "a", {"bundle": tmp_path / "exported"}, target)
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as archive:
        credentials = ["authority.crt", "device.crt", "device.key", "node.toml"]
        assert archive.getnames() == [*credentials, "bundle", "bundle/manifest.json", COUNTER, REVOKED]
        assert {(entry.uid, entry.uname) for entry in archive} == {(0, "")}
    none = tmp_path / "none.tar"
    for device, more, complaint in (
        ("b", {}, "b is not enrolled; edge-broker enrol b"),
        ("a", {"bundle": tmp_path / "nowhere"}, "there is no such file or folder"),
        ("a", {"device.key": target}, "expected the name of something new beside node.toml"),
        ("a", {"../x": target}, "expected the name of something new beside node.toml"),
    ):
        with pytest.raises(ConfigError, match=complaint):
            fleet.provision(orchard, device, more, none)
    assert not none.exists()


def test_a_name_that_is_no_name_gets_no_certificate_and_packs_nothing(orchard: fleet.Fleet, tmp_path: Path) -> None:
    """`..` under devices/ is the folder with the authority's key."""
    for name in ("..", ".", "", ".ssh", "-rf", "a/../.."):
        with pytest.raises(ConfigError, match="begin with a letter or digit"):
            fleet.provision(orchard, name, {}, tmp_path / "murmur.tar")
        with pytest.raises(ConfigError, match="begin with a letter or digit"):
            fleet.revoke(orchard, name)
        with pytest.raises(ConfigError, match="begin with a letter or digit"):
            certificates.device(orchard.authority(), name, 1)
        with pytest.raises(ConfigError, match="begin with a letter or digit"):
            fleet.init(tmp_path / "other", "orchard", ["h"], 1, peers=[name])
        assert topics.parse(f"fleet/orchard/to/operator/from/{name}/files") is None
        assert topics.parse_device(f"fleet/orchard/status/{name}") is None
    assert not (tmp_path / "murmur.tar").exists()


def test_a_fleets_folders_are_their_owners_alone(orchard: fleet.Fleet) -> None:
    folders = [orchard.folder, orchard.broker, orchard.broker / "data", fleet.enrol(orchard, "a", 30)]
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}


def test_rules_follow_who_is_enrolled_and_memory_the_number_of_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, "init", "orchard", "--host", "h", "--devices", "200", "--kind", "gossip") == 0
    orchard = fleet.read(tmp_path / "orchard")
    assert (orchard.devices, orchard.kinds) == (200, ("gossip",))
    assert f"memory_limit {rules.Limits(200).memory}" in (orchard.broker / "mosquitto.conf").read_text()
    rule = "pattern write fleet/orchard/to/a/from/%u/"
    assert rule not in (orchard.broker / "acl").read_text()
    fleet.enrol(orchard, "a", 1)
    text = (orchard.broker / "acl").read_text()
    assert {f"{rule}{kind}\n" in text for kind in ("soft-labels", "again", "gossip")} == {True}
    assert "+" not in "".join(line for line in text.splitlines() if "write" in line and "readwrite" not in line)
    fleet.revoke(orchard, "a")
    assert rule not in (orchard.broker / "acl").read_text()
    (orchard.broker / "mosquitto.conf").write_text("")
    assert call(monkeypatch, "configure", "--fleet", "orchard", "--devices", "20") == 0
    assert f"memory_limit {rules.Limits(20).memory}" in (orchard.broker / "mosquitto.conf").read_text()
    assert fleet.read(orchard.folder).devices == 20
    capsys.readouterr()
    assert call(monkeypatch, "configure", "--fleet", "orchard", "--devices", "0") == 2
    assert "--devices 0: expected 1 to 10,000" in capsys.readouterr().err


def test_a_signer_is_renewed(orchard: fleet.Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    before = certificates.read(orchard.folder / "signer").certificate.serial_number
    assert call(monkeypatch, "renew-signer", "--fleet", str(orchard.folder), "--json") == 0
    assert certificates.read(orchard.folder / "signer").certificate.serial_number != before
    revoked = x509.load_pem_x509_crl(orchard.revoked.read_bytes())
    assert revoked.get_revoked_certificate_by_serial_number(before) is not None
    assert modes(orchard.folder) == {0o600}


def test_retained_messages_of_one_device_are_bounded(tmp_path: Path) -> None:
    """600 of them took a broker from 9 to 296 MB; now most have no place, and its memory has an end."""
    port = free_port(None)
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["127.0.0.1"], port, peers=["a", "b"])
    folders = {name: fleet.enrol(orchard, name, 30) for name in "ab"}
    text = rules.configuration(orchard.broker, port, "127.0.0.1", rules.Limits(2))
    with mosquitto.run(text, orchard.broker, port) as broker:

        def resident() -> float:
            return int(Path(f"/proc/{broker.pid}/status").read_text().split("VmRSS:")[1].split()[0]) / 1e3

        begin = resident()
        with probe.connect("127.0.0.1", port, Credentials.of_folder(folders["a"]), "a") as a:
            for number in range(600):
                topic = f"fleet/orchard/to/b/from/a/kind-{number}"
                a.client.publish(topic, bytes(500_000 if number % 20 == 0 else 1000), qos=1, retain=True)
            assert a.publish("fleet/orchard/to/b/from/a/kind-x", retain=True) == "Not authorized"
            assert resident() - begin < 20
        for pair in (("a", "b"), ("b", "a")):
            ends = {
                name: mqtt.create(
                    url=f"mqtts://127.0.0.1:{port}",
                    fleet="orchard",
                    me=name,
                    credentials=Credentials.of_folder(folders[name]),
                )
                for name in pair
            }
            ends[pair[0]].send(pair[1], "soft-labels", b"x")
            assert ends[pair[1]].wait(10)
            for end in ends.values():
                end.close()


def test_certificates_are_not_left_unused() -> None:
    with pytest.raises(
        ConfigError, match=r"is not encrypted, and certificates are given: write mqtts://broker\.example"
    ):
        mqtt.create(url="mqtt://broker.example", fleet="f", me="a", credentials=Credentials())
    with (
        pytest.raises(ConfigError, match="is not encrypted"),
        subscribed("mqtt://broker.example", "f", Path("folder"), lambda *_: None),
    ):
        pass


def test_a_kept_message_is_none_between_neighbours() -> None:
    """Somebody may have left it at the broker long ago."""
    with embedded.running("mosquitto") as broker, probe.connect("127.0.0.1", broker.port, None, "b") as b:
        b.publish("fleet/f/to/a/from/b/soft-labels", b"old", retain=True)
        a = mqtt.create(url=broker.url, fleet="f", me="a")
        b.publish("fleet/f/to/a/from/b/soft-labels", b"new")
        eventually(lambda: a.wait(0.1))
        assert [delivery.payload for delivery in a.receive()] == [b"new"]
        a.close()
