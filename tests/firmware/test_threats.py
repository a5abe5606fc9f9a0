"""The threats of The Update Framework against rollouts, one test each: what a device does not install.

https://theupdateframework.io/docs/security/
"""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID

from broker import certificates, fleet
from broker.fleet import Fleet
from edge.errors import ConfigError, MessageError
from edge.operations import rollout
from edge.operations.rollout import COUNTER, REVOKED, Counter, Installer, NewBundleError, RolloutInfo
from edge.storage import archive, digests
from firmware_scripts import operating, signed_package
from tests import pair

NOW = int(time.time())
DAY = 86400


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    pair.model(folder / "model-1", "mlp:4")
    pair.model(folder / "model-2", "mlp:8")
    return folder


@pytest.fixture
def orchard(tmp_path: Path) -> Fleet:
    return fleet.init(tmp_path / "orchard", "orchard", ["h"], 1, peers=["a", "b"])


@pytest.fixture
def device(orchard: Fleet, source: Path, tmp_path: Path) -> Iterator[Installer]:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(source / "model-1", home / "bundle")
    yield Installer("orchard", home, home / "bundle", orchard.folder / "authority.crt", lambda _: None, "a")
    assert sorted(path.name for path in home.iterdir() if path.name != "rollouts") == ["bundle"]


def packed(
    orchard: Fleet, folder: Path, number: int = NOW, devices: tuple[str, ...] = ("a",), until: int = NOW + DAY
) -> bytes:
    return signed_package.build(folder, orchard, f"number-{number - NOW}", number, devices, until)


def install(device: Installer, package: bytes) -> None:
    with pytest.raises(NewBundleError):
        device.install(package)
    rollout.finish(device.bundle, None)
    shutil.rmtree(device.bundle.with_name("bundle.before"))


def refuse(device: Installer, package: bytes, complaint: str) -> None:
    before = rollout.fingerprint(device.bundle), rollout.read_counter(device.folder)
    with pytest.raises(MessageError, match=complaint):
        device.install(package)
    assert (rollout.fingerprint(device.bundle), rollout.read_counter(device.folder)) == before


def signed_by(pair: certificates.Pair, package_of: bytes, source: Path) -> bytes:
    """A package that says everything right, and is signed by somebody else."""
    about = {"fleet": "orchard", "name": "x", "made": NOW, "expires": NOW + DAY, "devices": ["a"]}
    about["bundle"] = digests.sha256(source / "manifest.json")
    content = archive.pack({"rollout.json": json.dumps(about).encode(), "revoked.pem": package_of, "bundle": source})
    return signed_package.sign(content, pair)


def test_arbitrary_software_of_an_authority_that_the_machine_trusts(
    orchard: Fleet, device: Installer, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate authority in the system's store, as public S/MIME ones are: it signs for no fleet."""
    store = tmp_path / "store"
    store.mkdir()
    rogue = certificates.authority("rogue", 10)
    rogue.write(store / "rogue")
    certificate = store / "rogue.crt"
    words = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
    name = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(certificate, store / f"{name}.0")
    monkeypatch.setenv("SSL_CERT_DIR", str(store))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    signer = certificates.signer(rogue, "signer", 10)
    package = signed_by(signer, orchard.revoked.read_bytes(), source / "model-2")
    (tmp_path / "package").write_bytes(package)
    words = ["openssl", "cms", "-verify", "-binary", "-inform", "DER", "-in", str(tmp_path / "package")]
    words += ["-CAfile", str(orchard.folder / "authority.crt"), "-out", str(tmp_path / "content")]
    assert subprocess.run(words, capture_output=True, check=False).returncode == 0  # the store alone lets it in
    refuse(device, package, "not signed for this fleet: .*unable to get local issuer certificate")


@pytest.mark.parametrize("purpose", ["device", "server", "mail"])
def test_arbitrary_software_of_a_certificate_for_something_else(
    purpose: str, orchard: Fleet, device: Installer, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fleet's own authority has certified it, but not for signing what devices install."""
    authority = orchard.authority()
    if purpose == "mail":
        purposes = ExtendedKeyUsageOID
        monkeypatch.setattr(purposes, "CODE_SIGNING", purposes.EMAIL_PROTECTION)
    pairs = {
        "device": lambda: certificates.device(authority, "operator", 1),
        "server": lambda: certificates.server(authority, ["h"], 1),
        "mail": lambda: certificates.signer(authority, "signer", 1),
    }
    refuse(device, signed_by(pairs[purpose](), b"", source / "model-2"), "not signed for this fleet")


def test_rollback(orchard: Fleet, device: Installer, source: Path) -> None:
    """An older package, however the model that trains now has come: the counter is not in the bundle."""
    old, new = packed(orchard, source / "model-1"), packed(orchard, source / "model-2", NOW + 1)
    same = packed(orchard, source / "model-1", NOW + 1)
    install(device, new)
    for package in (old, same):
        refuse(device, package, "is older than what is installed")
    (device.bundle / "rollout.json").unlink()
    refuse(device, old, "is older than what is installed")
    shutil.rmtree(device.bundle)
    shutil.copytree(source / "model-2", device.bundle)  # by card
    refuse(device, old, "is older than what is installed")
    assert device.install(new) == "number-1"  # once more the same


def test_rollback_behind_a_card(orchard: Fleet, device: Installer, source: Path, tmp_path: Path) -> None:
    """A card brings the fleet's number along, and packages made before it are older."""
    old = packed(orchard, source / "model-1", fleet.next_number(orchard))
    fleet.enrol(orchard, "a", 1)
    fleet.provision(orchard, "a", {"bundle": source / "model-2"}, tmp_path / "murmur.tar")
    words = ["tar", "xf", str(tmp_path / "murmur.tar"), "-C", str(device.folder), COUNTER, REVOKED]
    subprocess.run(words, check=True)
    refuse(device, old, "is older than what is installed")
    install(device, packed(orchard, source / "model-2", fleet.next_number(orchard)))


def test_freeze(orchard: Fleet, device: Installer, source: Path) -> None:
    """Whoever holds a package back cannot bring it after its last day."""
    package = packed(orchard, source / "model-2")
    device.clock = lambda: NOW + DAY + 1.0
    refuse(device, package, "has expired")
    device.clock = lambda: NOW + DAY - 1.0
    install(device, package)


@pytest.mark.parametrize(
    ("number", "until"), [(NOW, NOW + 2 * DAY), (NOW + 2 * DAY, NOW)], ids=["its end", "its number"]
)
def test_dates_beyond_the_signers_certificate(
    number: int, until: int, orchard: Fleet, device: Installer, source: Path
) -> None:
    """Fast-forward: no date after the certificate's, so nobody counts up to where no honest package comes."""
    stem = orchard.folder / "signer"
    for ending in (".crt", ".key"):
        stem.with_name(f"signer{ending}").unlink()
    certificates.signer(orchard.authority(), "signer", 1).write(stem)
    about = RolloutInfo("orchard", "x", number, until, ("a",), digests.sha256(source / "model-2" / "manifest.json"))
    values = {"fleet": about.fleet, "name": "x", "made": number, "expires": until, "devices": ["a"]}
    files: dict[str, Path | bytes] = {
        "rollout.json": json.dumps({**values, "bundle": about.bundle}).encode(),
        "bundle": source / "model-2",
    }
    refuse(device, signed_package.sign(archive.pack(files), certificates.read(stem)), "dates after the end")
    with pytest.raises(ConfigError, match="signer's certificate ends before"):
        signed_package.make(source / "model-2", orchard, ["a"], 30)


@pytest.mark.parametrize("mix", ["another bundle", "another file", "a file more", "a file more beside it"])
def test_mix_and_match(mix: str, orchard: Fleet, device: Installer, source: Path, tmp_path: Path) -> None:
    """Parts of two packages do not make a third, even where a signer has signed the mixture."""
    announced = digests.sha256(source / "model-2" / "manifest.json")
    folder = tmp_path / "mixed"
    shutil.copytree(source / ("model-1" if mix == "another bundle" else "model-2"), folder)
    if mix == "another file":
        shutil.copy(source / "model-1" / "train.onnx", folder / "train.onnx")
    elif mix == "a file more":
        (folder / "weights.bin").write_bytes(b"x")
    about = {"fleet": "orchard", "name": "x", "made": NOW, "expires": NOW + DAY, "devices": ["a"]}
    content: dict[str, Path | bytes] = {
        "rollout.json": json.dumps({**about, "bundle": announced}).encode(),
        "bundle": folder,
    }
    if mix == "a file more beside it":
        content["node.toml"] = b"x"
    package = signed_package.sign(archive.pack(content), certificates.read(orchard.folder / "signer"))
    complaint = "announces another|is not the file that was exported|belong to nothing"
    with pytest.raises(Exception, match=complaint):
        device.install(package)
    assert rollout.fingerprint(device.bundle) == rollout.fingerprint(source / "model-1")


@pytest.mark.parametrize("devices", [(), ("b", "aa")])
def test_wrong_recipient(devices: tuple[str, ...], orchard: Fleet, device: Installer, source: Path) -> None:
    refuse(device, packed(orchard, source / "model-2", devices=devices), "this is a$")


def test_a_stolen_key(orchard: Fleet, device: Installer, source: Path, tmp_path: Path) -> None:
    """It is revoked by the next rollout or card; and the thief, who counted ahead, has not locked the operator out."""
    ahead = packed(orchard, source / "model-2", NOW + 1000 * DAY, until=NOW + 1000 * DAY)
    stolen = certificates.read(orchard.folder / "signer")
    install(device, ahead)
    fleet.renew_signer(orchard)
    install(device, packed(orchard, source / "model-1", NOW + 1))
    assert (device.folder / REVOKED).read_bytes() == orchard.revoked.read_bytes()
    theirs = signed_by(stolen, b"", source / "model-2")
    refuse(device, theirs, "certificate revoked")
    refuse(device, ahead, "certificate revoked")


def test_a_forged_revocation_list_is_none(orchard: Fleet, device: Installer, source: Path) -> None:
    other = certificates.authority("orchard", 10)
    forged = certificates.revocations(other, None, [1])
    signer = certificates.read(orchard.folder / "signer")
    refuse(device, signed_by(signer, forged, source / "model-2"), "not signed for this fleet: .*CRL")


def test_a_damaged_counter_is_none(device: Installer) -> None:
    (device.folder / "rollouts").mkdir()
    for text in ("", "[]", '{"made": "x"}', '{"made": true}'):
        (device.folder / COUNTER).write_text(text)
        assert rollout.read_counter(device.folder) == Counter()


def test_numbers_only_grow(orchard: Fleet) -> None:
    numbers = [fleet.next_number(orchard) for _ in range(3)]
    assert numbers == sorted(set(numbers))
    (orchard.folder / "rollouts.json").write_text(json.dumps({"made": 4_000_000_000}))
    assert fleet.next_number(orchard) == 4_000_000_001
    (orchard.folder / "rollouts.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"rollouts\.json is not what a rollout wrote"):
        fleet.next_number(orchard)


def test_a_bomb_is_not_decompressed(tmp_path: Path) -> None:
    bomb = archive.pack({"log.txt": bytes(5_000_000)}, compress=True)
    assert len(bomb) < 10_000
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        archive.decompressed(bomb, 1_000_000)
    with pytest.raises(ValueError, match="ends too soon"):
        archive.decompressed(bomb[:-100], 10_000_000)
    assert operating.LARGEST >= 1_000_000
