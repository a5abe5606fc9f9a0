"""The folder that makes a fleet's broker: who may connect, and who may say what to whom.

FLEET/authority.crt, .key     signs the rest; keep the key off the network
FLEET/signer.crt, .key        signs what devices install: systems and models
FLEET/node.toml               what all devices' configurations have in common, to be edited
FLEET/broker/                 for the broker's machine: mosquitto.conf, acl, certificates, revoked.pem
FLEET/devices/ID/             for a device's boot partition: device.crt, device.key, authority.crt, node.toml
FLEET/revoked/ID-SERIAL/      of those that are no longer let in
FLEET/proof/revoked.crt       a certificate that never was good, for `edge-broker check`
"""

import io
import json
import os
import shutil
import signal
import tarfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryptography import x509

from broker import certificates
from edge.errors import ConfigError
from edge.messaging import topics
from edge.storage import atomic

PACKET = 520_000
"""Bytes of the largest packet: a payload of 512 kB, its topic and properties."""
YEARS = 10
MONITOR = "monitor"
"""the name that may read what devices report about themselves, and nothing else"""
OPERATOR = "operator"
"""the name that may also ask devices for reports, and bring them models (`edge.operations.remote`)"""
BRIDGE = "bridge"
"""the name of another broker, which carries everybody's messages (docs/recipes/bridge.conf)"""
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
    """A fleet's folder. hosts: what the broker is called; at: where FLEET/broker lies on the broker's machine."""

    folder: Path
    name: str
    hosts: tuple[str, ...]
    port: int
    at: Path

    @property
    def url(self) -> str:
        """Where devices connect."""
        return f"mqtts://{self.hosts[0]}:{self.port}"

    @property
    def broker(self) -> Path:
        """The folder for the broker's machine."""
        return self.folder / "broker"

    def authority(self) -> certificates.Pair:
        """Certificate and key that sign all others."""
        return certificates.read(self.folder / "authority")


def init(
    folder: Path, name: str, hosts: Sequence[str], port: int, at: Path | None = None, peers: Sequence[str] = ()
) -> Fleet:
    """Make the folder, all of it or nothing. Raises ConfigError: it is there already, or a name cannot be.

    peers: the devices that FLEET/node.toml names; none are enrolled yet.
    """
    topics.name(name, "fleet")
    for peer in peers:
        topics.name(peer, "device")
    if not hosts:
        raise ConfigError("name the broker's host at least once, as devices will reach it (--host)")
    made = Fleet(folder, name, tuple(hosts), port, (at or folder / "broker").absolute())
    with _whole(folder) as part:
        authority = certificates.authority(name, 365 * YEARS)
        authority.write(part / "authority")
        certificates.signer(authority, "signer", 365 * YEARS).write(part / "signer")
        (part / "broker" / "data").mkdir(parents=True)
        (part / "broker" / "data").chmod(0o700)
        certificates.server(authority, hosts, 365 * YEARS).write(part / "broker" / "server")
        shutil.copy(part / "authority.crt", part / "broker")
        (part / "proof").mkdir()
        never = certificates.device(authority, "revoked-on-the-first-day", 365 * YEARS)
        never.write(part / "proof" / "revoked")
        revoked = certificates.revocations(authority, None, [never.certificate.serial_number])
        (part / "broker" / "revoked.pem").write_bytes(revoked)
        (part / "broker" / "mosquitto.conf").write_text(configuration(made.at, port))
        (part / "broker" / "acl").write_text(access_rules(name))
        (part / "node.toml").write_text(_TEMPLATE.format(peers=json.dumps(list(peers))))
        (part / "devices").mkdir()
        (part / "revoked").mkdir()
        about = {"fleet": name, "hosts": list(hosts), "port": port, "at": str(made.at)}
        (part / "fleet.json").write_text(json.dumps(about, indent=1) + "\n")
    return made


def read(folder: Path) -> Fleet:
    """The fleet that `init` made. Raises ConfigError."""
    path = folder / "fleet.json"
    try:
        about = json.loads(path.read_text())
        return Fleet(folder, about["fleet"], tuple(about["hosts"]), int(about["port"]), Path(about["at"]))
    except OSError as reason:
        raise ConfigError(
            f"{folder} is no fleet's folder ({path.name}: {reason.strerror}); make one with edge-broker init"
        ) from None
    except (ValueError, KeyError, TypeError) as reason:
        raise ConfigError(f"{path} is not what edge-broker init wrote ({reason!r}); put it back from a copy") from None


def enrol(fleet: Fleet, device: str, days: int) -> Path:
    """Everything a device needs to be let in, in a folder of its own, whole or not at all.

    Raises ConfigError: it is enrolled already, cannot be called that, or is not among the peers of FLEET/node.toml.
    Where a device of that name was revoked before, the broker has to read FLEET/broker/acl again.
    """
    topics.name(device, "device")
    target = fleet.folder / "devices" / device
    if target.exists():
        raise ConfigError(f"{device} is enrolled already ({target}); edge-broker revoke it first, or use another name")
    text = _configuration(fleet, device)
    with _whole(target) as part:
        certificates.device(fleet.authority(), device, days).write(part / "device")
        shutil.copy(fleet.folder / "authority.crt", part)
        (part / "node.toml").write_text(text)
    _write_rules(fleet)
    return target


def card(fleet: Fleet, device: str, more: Mapping[str, Path], target: Path) -> int:
    """Everything an enrolled device starts with in one file, for its card's first partition; the bytes of it.

    more: what its node.toml names beside its papers, e.g. bundle and data -> where that is here; folders too.
    Raises ConfigError: not enrolled, or something is not there. The file holds the device's private key.
    """
    source = fleet.folder / "devices" / topics.name(device, "device")
    if not source.is_dir():
        raise ConfigError(f"{device} is not enrolled; edge-broker enrol {device} --fleet {fleet.folder}")
    for name, path in more.items():
        if not path.exists():
            raise ConfigError(f"--with {name}={path}: there is no such file or folder")
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or (source / name).exists():
            raise ConfigError(f"--with {name}={path}: expected the name of something new beside node.toml")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path in sorted(source.iterdir()):
            archive.add(path, path.name, filter=_nobodys)
        for name, path in more.items():
            archive.add(path, name, filter=_nobodys)
    try:
        target.unlink(missing_ok=True)
        atomic.write_private(target, packed.getvalue())
    except OSError as reason:
        raise ConfigError(f"cannot write {target}: {reason.strerror}") from None
    return len(packed.getvalue())


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Without what only concerns this machine; links and the like are left out."""
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry if entry.isfile() or entry.isdir() else None


def revoke(fleet: Fleet, device: str) -> Path:
    """Put a device's certificate on the revocation list; its folder moves to FLEET/revoked. Raises ConfigError."""
    source = fleet.folder / "devices" / topics.name(device, "device")
    if not source.is_dir():
        known = sorted(p.name for p in (fleet.folder / "devices").glob("[!.]*"))
        raise ConfigError(f"{device} is not enrolled; there are: {', '.join(known) or 'none'}")
    serial = certificates.read(source / "device").certificate.serial_number
    path = fleet.broker / "revoked.pem"
    before = x509.load_pem_x509_crl(path.read_bytes())
    target = fleet.folder / "revoked" / f"{device}-{serial:x}"
    atomic.write_text(path, certificates.revocations(fleet.authority(), before, [serial]).decode())
    source.rename(target)
    _write_rules(fleet)
    return target


def _write_rules(fleet: Fleet) -> None:
    """The access rules as they follow from who is enrolled and who no longer is."""
    enrolled = {path.name for path in (fleet.folder / "devices").iterdir()}
    revoked = {path.name.rpartition("-")[0] for path in (fleet.folder / "revoked").iterdir()}
    atomic.write_text(fleet.broker / "acl", access_rules(fleet.name, sorted(revoked - enrolled)))


def reload(fleet: Fleet) -> bool:
    """Have a broker of this fleet that runs on this machine read FLEET/broker again; whether one does."""
    try:
        process = int((fleet.broker / "data" / "mosquitto.pid").read_text())
        os.kill(process, signal.SIGHUP)
    except (OSError, ValueError):
        return False
    return True


def configuration(at: Path, port: int, address: str = "") -> str:
    """Mosquitto's, with its files in `at`: every device by certificate, bounded in every way.

    address: the only one that it listens on; all of the machine's if absent.
    """
    return f"""\
# Mosquitto 2 for one fleet. Only devices with a certificate of its authority are let in, each under the name in it.
listener {f"{port} {address}".rstrip()}
cafile {at}/authority.crt
certfile {at}/server.crt
keyfile {at}/server.key
crlfile {at}/revoked.pem
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {at}/acl

# What one device can make the broker hold: its own queue, of messages of at most 512 kB.
max_packet_size {PACKET}
max_inflight_messages 100
max_queued_messages 2000
max_queued_bytes 100000000
max_keepalive 600

# Sessions and queued messages outlive a restart of the broker; what came after the last saving may not.
persistence true
persistence_location {at}/data/
autosave_interval 60
persistent_client_expiration 7d
pid_file {at}/data/mosquitto.pid

set_tcp_nodelay true
log_type error
log_type warning
log_type notice
"""


def access_rules(name: str, revoked: Sequence[str] = ()) -> str:
    """Mosquitto's: a device writes only where it is the sender, and reads only what is for it (%u is its name).

    revoked: of whom a connection may still be open, which a revocation list does not end.
    """
    denied = "".join(f"\nuser {device}\ntopic deny #\n" for device in revoked)
    return f"""\
pattern write {topics.Address(name, "+", "%u", "+").topic}
pattern read {topics.inbox(name, "%u")}
pattern write {topics.status(name, "%u")}
pattern write {topics.telemetry(name, "%u")}
pattern write homeassistant/sensor/{name}-%u/+/config

user {MONITOR}
topic read {topics.status(name, "+")}
topic read {topics.telemetry(name, "+")}

user {OPERATOR}
topic read {topics.status(name, "+")}
topic read {topics.telemetry(name, "+")}

user {BRIDGE}
topic readwrite fleet/{name}/#
{denied}"""


def _configuration(fleet: Fleet, device: str) -> str:
    """A device's node.toml: its own lines around those that all have in common."""
    path = fleet.folder / "node.toml"
    try:
        common = path.read_text()
        values = tomllib.loads(common)
    except (OSError, tomllib.TOMLDecodeError) as reason:
        raise ConfigError(f"cannot read {path}: {reason}") from None
    peers = values.get("peers") or []
    if peers and device not in (*peers, *CENTRES, MONITOR, OPERATOR, BRIDGE):
        raise ConfigError(
            f"{device} is not one of the peers in {path}: {', '.join(map(str, peers))}; add it there first "
            "(all devices read the same list)"
        )
    own = f'id = "{device}"\n' if device not in CENTRES else f'role = "{device}"\n'
    tls = '\n[tls]\nca = "authority.crt"\ncertificate = "device.crt"\nkey = "device.key"\n'
    return f'{own}fleet = "{fleet.name}"\nbroker = "{fleet.url}"\n{common.rstrip()}\n{tls}'


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder to fill, that becomes `target` when it is complete. Raises ConfigError: it is there, or cannot be."""
    if target.exists():
        raise ConfigError(f"{target} is there already; choose another folder, or remove it")
    try:
        with atomic.whole(target) as part:
            yield part
    except OSError as reason:
        raise ConfigError(f"cannot write {target}: {reason.strerror}") from None
