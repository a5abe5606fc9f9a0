"""A fleet's folder on the operator's machine: its authority, its broker's files, and its devices' credentials.

FLEET/authority.crt, .key     signs the rest; keep the key off the network
FLEET/signer.crt, .key        signs what devices install: systems and models
FLEET/node.toml               what all devices' configurations have in common, to be edited
FLEET/broker/                 for the broker's machine: mosquitto.conf, acl, certificates, revoked.pem
FLEET/devices/ID/             for a device's boot partition: device.crt, device.key, authority.crt, node.toml
FLEET/revoked/ID-SERIAL/      of those that are no longer let in
FLEET/revoked-signers/SERIAL/ keys that no longer sign anything
FLEET/rollouts.json           number of the last package for devices, which only grows
FLEET/proof/revoked.crt       a certificate that never was good, for `edge-broker check`
"""

import json
import os
import shutil
import signal
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from cryptography import x509

from broker import certificates, rules
from broker.rules import BRIDGE, DASHBOARD, MONITOR, OPERATOR
from edge.errors import ConfigError
from edge.messaging import topics
from edge.operations.rollout import COUNTER, REVOKED
from edge.storage import archive, atomic

YEARS = 10
CENTRES = ("server", "coordinator")

_TEMPLATE = """\
# What the configurations of all devices have in common; edge-broker enrol adds id, fleet, broker and [tls].
# docs/node.md has all keys. Paths are relative to the file on the device.
peers = {peers}
topology = "ring"
bundle = "bundle"
data = "npz:private.npz"
reference = "npz:reference.npz"
protocol = "d-distillation"
rounds = 200
checkpoint = "state"
"""


@dataclass(frozen=True)
class Fleet:
    """A fleet's folder.

    hosts: what the broker is called. at: where FLEET/broker lies on the broker's machine. devices: for how many the
    broker's memory is sized. kinds: of message, of protocols from elsewhere.
    """

    folder: Path
    name: str
    hosts: tuple[str, ...]
    port: int
    at: Path
    devices: int = rules.Limits.devices
    kinds: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"mqtts://{self.hosts[0]}:{self.port}"

    @property
    def broker(self) -> Path:
        """The folder for the broker's machine."""
        return self.folder / "broker"

    @property
    def revoked(self) -> Path:
        """The revocation list (PEM)."""
        return self.broker / "revoked.pem"

    def authority(self) -> certificates.Pair:
        """Certificate and key that sign all others."""
        return certificates.read(self.folder / "authority")


def init(
    folder: Path,
    name: str,
    hosts: Sequence[str],
    port: int,
    at: Path | None = None,
    peers: Sequence[str] = (),
    *,
    devices: int | None = None,
    kinds: Sequence[str] = (),
) -> Fleet:
    """Make the folder, all of it or nothing.

    Args:
        folder: to make.
        name: of the fleet.
        hosts: names and addresses by which devices reach the broker.
        port: the broker's.
        at: where FLEET/broker will lie on the broker's machine; where it is if absent.
        peers: the devices that FLEET/node.toml names; none are enrolled yet.
        devices: for how many the broker's memory is sized; for the peers, or `rules.Limits`' default without any.
        kinds: of message, of protocols from elsewhere.

    Returns:
        The fleet.

    Raises:
        ConfigError: the folder exists, a name is not valid, or no host is given.
    """
    topics.name(name, "fleet")
    for peer in peers:
        topics.name(peer, "device")
    for kind in kinds:
        topics.name(kind, "kind of message")
    if not hosts:
        raise ConfigError("name the broker's host at least once, as devices will reach it (--host)")
    count = devices or len(peers) or rules.Limits.devices
    fleet = Fleet(folder, name, tuple(hosts), port, (at or folder / "broker").absolute(), count, tuple(kinds))
    with _whole(folder) as part:
        part.chmod(0o700)
        authority = certificates.authority(name, 365 * YEARS)
        authority.write(part / "authority")
        certificates.signer(authority, "signer", 365 * YEARS).write(part / "signer")
        (part / "broker" / "data").mkdir(parents=True)
        (part / "broker").chmod(0o700)
        (part / "broker" / "data").chmod(0o700)
        certificates.server(authority, hosts, 365 * YEARS).write(part / "broker" / "server")
        shutil.copy(part / "authority.crt", part / "broker")
        (part / "proof").mkdir()
        never = certificates.device(authority, "revoked-on-the-first-day", 365 * YEARS)
        never.write(part / "proof" / "revoked")
        revoked = certificates.revocations(authority, None, [never.certificate.serial_number])
        (part / "broker" / "revoked.pem").write_bytes(revoked)
        (part / "broker" / "mosquitto.conf").write_text(rules.configuration(fleet.at, port, limits=rules.Limits(count)))
        (part / "broker" / "acl").write_text(rules.access_rules(name, more_kinds=kinds))
        (part / "node.toml").write_text(_TEMPLATE.format(peers=json.dumps(list(peers))))
        (part / "devices").mkdir()
        (part / "revoked").mkdir()
        about = {"fleet": name, "hosts": list(hosts), "port": port, "at": str(fleet.at)}
        about |= {"devices": count, "kinds": list(kinds)}
        (part / "fleet.json").write_text(json.dumps(about, indent=1) + "\n")
    return fleet


def read(folder: Path) -> Fleet:
    """Read the folder that `init` made. Raises ConfigError."""
    path = folder / "fleet.json"
    try:
        about = json.loads(path.read_text())
        where = about["fleet"], tuple(about["hosts"]), int(about["port"]), Path(about["at"])
        devices = int(about.get("devices", rules.Limits.devices))
        return Fleet(folder, *where, devices, tuple(about.get("kinds", ())))
    except OSError as reason:
        raise ConfigError(
            f"{folder} is no fleet's folder ({path.name}: {reason.strerror}); make one with edge-broker init"
        ) from None
    except (ValueError, KeyError, TypeError) as reason:
        raise ConfigError(f"{path} is not what edge-broker init wrote ({reason!r}); put it back from a copy") from None


def enrol(fleet: Fleet, device: str, days: int) -> Path:
    """Make everything a device needs to be let in: all of it or nothing.

    The broker has to read FLEET/broker/acl again: messages go to those who are in it only.

    Args:
        fleet: to enrol it in.
        device: its id, or "monitor", "operator", "bridge", "server", "coordinator".
        days: how long its certificate is valid.

    Returns:
        Its folder.

    Raises:
        ConfigError: it is enrolled already, the name is not valid, or it is not among the peers of FLEET/node.toml.
    """
    topics.name(device, "device")
    target = fleet.folder / "devices" / device
    if target.exists():
        raise ConfigError(f"{device} is enrolled already ({target}); edge-broker revoke it first, or use another name")
    text = _configuration(fleet, device)
    with _whole(target) as part:
        part.chmod(0o700)
        certificates.device(fleet.authority(), device, days).write(part / "device")
        shutil.copy(fleet.folder / "authority.crt", part)
        (part / "node.toml").write_text(text)
    _write_rules(fleet)
    return target


def provision(fleet: Fleet, device: str, more: Mapping[str, Path], target: Path) -> int:
    """Write the provisioning archive of a device: everything it starts with, for its card's first partition.

    Args:
        fleet: it is enrolled in.
        device: its id.
        more: what its node.toml names beside its credentials, e.g. "bundle" -> where the bundle is here; folders too.
        target: the archive. It holds the device's private key, so only its owner can read it.

    Returns:
        The bytes of the archive.

    Raises:
        ConfigError: the device is not enrolled, a file is missing, or `target` cannot be written.
    """
    source = fleet.folder / "devices" / topics.name(device, "device")
    if not source.is_dir():
        raise ConfigError(f"{device} is not enrolled; edge-broker enrol {device} --fleet {fleet.folder}")
    for name, path in more.items():
        if not path.exists():
            raise ConfigError(f"--with {name}={path}: there is no such file or folder")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or (source / name).exists():
            raise ConfigError(f"--with {name}={path}: expected the name of something new beside node.toml")
    entries: dict[str, Path | bytes] = {path.name: path for path in sorted(source.iterdir())}
    counter = json.dumps({"made": last_number(fleet)}).encode()  # no older rollout replaces what the card brings
    content = archive.pack({**entries, **more, COUNTER: counter, REVOKED: fleet.revoked.read_bytes()})
    try:
        target.unlink(missing_ok=True)
        atomic.write_private(target, content)
    except OSError as reason:
        raise ConfigError(f"cannot write {target}: {reason.strerror}") from None
    return len(content)


def revoke(fleet: Fleet, device: str) -> Path:
    """Put a device's certificate on the revocation list, and move its folder to FLEET/revoked.

    Returns:
        Where its folder is now.

    Raises:
        ConfigError: it is not enrolled.
    """
    source = fleet.folder / "devices" / topics.name(device, "device")
    if not source.is_dir():
        known = sorted(p.name for p in (fleet.folder / "devices").glob("[!.]*"))
        raise ConfigError(f"{device} is not enrolled; there are: {', '.join(known) or 'none'}")
    serial = certificates.read(source / "device").certificate.serial_number
    target = fleet.folder / "revoked" / f"{device}-{serial:x}"
    _revoke_serial(fleet, serial)
    source.rename(target)
    _write_rules(fleet)
    return target


def renew_signer(fleet: Fleet) -> Path:
    """Replace the key that signs what devices install, and revoke the one before it.

    Devices learn of it from the next rollout, which brings the list, or from the next card.

    Returns:
        Where certificate and key of the one before are now.
    """
    before = certificates.read(fleet.folder / "signer").certificate.serial_number
    target = fleet.folder / "revoked-signers" / f"{before:x}"
    _revoke_serial(fleet, before)
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for ending in ("key", "crt"):
        (fleet.folder / f"signer.{ending}").rename(target / f"signer.{ending}")
    certificates.signer(fleet.authority(), "signer", 365 * YEARS).write(fleet.folder / "signer")
    return target


def last_number(fleet: Fleet) -> int:
    """Return the number of the last package for devices; 0 if there was none. Raises ConfigError."""
    path = fleet.folder / "rollouts.json"
    try:
        return int(json.loads(path.read_text())["made"])
    except FileNotFoundError:
        return 0
    except (ValueError, KeyError, TypeError) as reason:
        raise ConfigError(f"{path} is not what a rollout wrote ({reason!r}); put it back from a copy") from None


def next_number(fleet: Fleet) -> int:
    """Return the number of the next package for devices: by this clock, and above the last one whatever it shows."""
    number = max(int(time.time()), last_number(fleet) + 1)
    atomic.write_text(fleet.folder / "rollouts.json", json.dumps({"made": number}) + "\n")
    return number


def _revoke_serial(fleet: Fleet, serial: int) -> None:
    before = x509.load_pem_x509_crl(fleet.revoked.read_bytes())
    atomic.write_text(fleet.revoked, certificates.revocations(fleet.authority(), before, [serial]).decode())


def write_configuration(fleet: Fleet, devices: int | None = None) -> Fleet:
    """Write the broker's configuration and access rules anew, as this release has them.

    Args:
        fleet: whose folder.
        devices: for how many the broker's memory is sized from now on; as before if absent.

    Returns:
        The fleet.
    """
    path = fleet.folder / "fleet.json"
    fleet = replace(fleet, devices=devices or fleet.devices)
    atomic.write_text(path, json.dumps({**json.loads(path.read_text()), "devices": fleet.devices}, indent=1) + "\n")
    text = rules.configuration(fleet.at, fleet.port, limits=rules.Limits(fleet.devices))
    atomic.write_text(fleet.broker / "mosquitto.conf", text)
    _write_rules(fleet)
    return fleet


def _write_rules(fleet: Fleet) -> None:
    """Write the access rules that follow from who is enrolled and who is revoked."""
    enrolled = {path.name for path in (fleet.folder / "devices").iterdir() if topics.is_name(path.name)}
    revoked = {path.name.rpartition("-")[0] for path in (fleet.folder / "revoked").iterdir()}
    atomic.write_text(
        fleet.broker / "acl", rules.access_rules(fleet.name, sorted(enrolled), sorted(revoked - enrolled), fleet.kinds)
    )


def reload(fleet: Fleet) -> bool:
    """Have a broker of this fleet that runs on this machine read FLEET/broker again; returns whether one runs."""
    try:
        process = int((fleet.broker / "data" / "mosquitto.pid").read_text())
        os.kill(process, signal.SIGHUP)
    except (OSError, ValueError):
        return False
    return True


def _configuration(fleet: Fleet, device: str) -> str:
    """Return a device's node.toml: its own lines around those that all have in common."""
    path = fleet.folder / "node.toml"
    try:
        common = path.read_text()
        values = tomllib.loads(common)
    except (OSError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"cannot read {path}: {reason}") from None
    peers = values.get("peers") or []
    if peers and device not in (*peers, *CENTRES, MONITOR, DASHBOARD, OPERATOR, BRIDGE):
        raise ConfigError(
            f"{device} is not one of the peers in {path}: {', '.join(map(str, peers))}; add it there first "
            "(all devices read the same list)"
        )
    own = f'id = "{device}"\n' if device not in CENTRES else f'role = "{device}"\n'
    tls = '\n[tls]\nca = "authority.crt"\ncertificate = "device.crt"\nkey = "device.key"\n'
    return f'{own}fleet = "{fleet.name}"\nbroker = "{fleet.url}"\n{common.rstrip()}\n{tls}'


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Give a folder to fill that becomes `target` once complete. Raises ConfigError: it exists, or cannot be."""
    if target.exists():
        raise ConfigError(f"{target} is there already; choose another folder, or remove it")
    try:
        with atomic.whole(target) as part:
            yield part
    except OSError as reason:
        raise ConfigError(f"cannot write {target}: {reason.strerror}") from None
