"""Proof that a fleet's broker refuses what it must: real connections, by devices and by pretenders.

Every check also shows that the honest thing works, so that a broker that refuses everybody does not pass. To show that
a message does not arrive, a check sends an honest one after it and waits for that: brokers keep the order of one
sender's messages.
"""

import secrets
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from broker import certificates, mosquitto, probe, rules
from broker import fleet as fleets
from broker.fleet import Fleet
from broker.probe import ProbeClient
from broker.process import free_port
from edge.errors import ConfigError, MurmurError
from edge.messaging import topics
from edge.transports.mqtt import CIPHERS, Credentials

LARGEST = 512_000
"""Bytes of the largest payload that a device sends."""
HONEST = b"honest"
"""payload of a message that must arrive"""
A, B, C, D = rules.PROBES
WEAK = "ECDHE-ECDSA-AES128-SHA256:ECDHE-RSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"
"""ciphers of TLS 1.2 without authenticated encryption"""
BOUNDS = {
    "memory_limit": 2_000_000_000_000,
    "max_packet_size": rules.PACKET,
    "max_inflight_messages": 100,
    "max_queued_messages": 2000,
    "max_queued_bytes": rules.Limits().queue,
    "max_keepalive": 600,
}
"""settings of Mosquitto that bound what it holds, and how large they may be"""


@dataclass(frozen=True)
class Check:
    """The outcome of one check. answer: what the broker said to the attempt."""

    name: str
    ok: bool
    answer: str


@dataclass(frozen=True)
class Target:
    """A broker under test.

    host, port: where it is. fleet: whose rules it has. scratch: a folder for certificates made for the occasion.
    settings: its configuration.
    """

    host: str
    port: int
    fleet: Fleet
    scratch: Path
    settings: str

    def issue(self, name: str, *, days: int = 1, expired: bool = False, foreign: bool = False) -> Credentials:
        """Make credentials of the fleet's authority, or of a foreign one that has the same name."""
        issuer = certificates.authority(self.fleet.name, 1) if foreign else self.fleet.authority()
        until = datetime.now(UTC) - timedelta(hours=1) if expired else None
        stem = self.scratch / f"{name}-{secrets.token_hex(3)}"
        certificates.device(issuer, name, days, until=until).write(stem)
        return self.credentials(stem)

    def credentials(self, stem: Path) -> Credentials:
        """Name the files STEM.crt and STEM.key, and the fleet's authority."""
        crt, key = stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key")
        return Credentials(self.fleet.folder / "authority.crt", crt, key, check_hostname=self.host in self.fleet.hosts)

    def connect(self, name: str) -> AbstractContextManager[ProbeClient]:
        """Connect as `name`, with credentials for it."""
        return self.pretend(self.issue(name), name)

    def pretend(self, credentials: Credentials | None, name: str) -> AbstractContextManager[ProbeClient]:
        """Connect as `name`, with whatever credentials."""
        return probe.connect(self.host, self.port, credentials, name)

    def message(self, receiver: str, sender: str) -> str:
        """Return the topic of a message from `sender` to `receiver`."""
        return topics.Address(self.fleet.name, receiver, sender, "soft-labels").topic

    def inbox(self, receiver: str) -> str:
        """Return what `receiver` subscribes to."""
        return topics.inbox(self.fleet.name, receiver)


def host_and_port(text: str) -> tuple[str, int]:
    """Read HOST[:PORT] of --broker; the port is 8883 if absent. Raises ConfigError.

    >>> host_and_port("broker.example")
    ('broker.example', 8883)
    """
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "8883")
    if not host or not port.isdigit():
        raise ConfigError(f"--broker {text}: expected HOST or HOST:PORT")
    return host, int(port)


@contextmanager
def target(folder: Path | None, address: tuple[str, int] | None) -> Iterator[Target]:
    """Give the broker to test while the block lasts.

    Args:
        folder: of the fleet; a throw-away fleet is made if absent.
        address: host and port of a running broker that has the fleet's rules; else a Mosquitto with these rules is
            started on loopback.

    Raises:
        ConfigError: the folder is no fleet's.
        TransportError: there is no Mosquitto on this machine.
    """
    with TemporaryDirectory(prefix="murmur-check-") as name:
        here = Path(name)
        fleet = fleets.read(folder) if folder else fleets.init(here / "fleet", "proof", ["127.0.0.1"], 8883)
        (here / "certificates").mkdir(mode=0o700)
        if address:
            yield Target(*address, fleet, here / "certificates", (fleet.broker / "mosquitto.conf").read_text())
            return
        port, files = free_port(None), here / "broker"
        shutil.copytree(fleet.broker, files, ignore=shutil.ignore_patterns("data"))
        (files / "data").mkdir()
        settings = rules.configuration(files, port, "127.0.0.1")
        with mosquitto.run(settings, files, port):
            yield Target("127.0.0.1", port, fleet, here / "certificates", settings)


def run(broker: Target) -> Iterator[Check]:
    """Run all of CHECKS, each on its own connections."""
    for name, check in CHECKS.items():
        try:
            ok, answer = check(broker)
        except (OSError, MurmurError) as reason:
            ok, answer = False, str(reason)
        yield Check(name, ok, answer)


def _neighbours(broker: Target) -> tuple[bool, str]:
    with broker.connect(A) as a, broker.connect(B) as b:
        if not (a.connected and b.connected):
            return False, a.reason if not a.connected else b.reason
        granted = b.subscribe(broker.inbox(B))
        answer = a.publish(broker.message(B, A))
        return b.until(lambda: bool(b.messages)), f"subscription: {granted}; message: {answer}"


def _cannot_publish(broker: Target, topic: str, retain: bool = False) -> tuple[bool, str]:
    """a publishes on `topic`, then on one that it may use; b must receive only the second message."""
    with broker.connect(A) as a, broker.connect(B) as b:
        b.subscribe(broker.inbox(B))
        answer = a.publish(topic, retain=retain)
        a.publish(broker.message(B, A), HONEST)
        arrived = b.until(lambda: HONEST in _payloads(b))
        return arrived and _payloads(b) == {HONEST} and answer == "Not authorized", answer


def _cannot_read(broker: Target, *filters: str) -> tuple[bool, str]:
    """c subscribes to what is for b; a sends to b, then to c. c must receive only the second message."""
    with broker.connect(A) as a, broker.connect(B) as b, broker.connect(C) as c:
        b.subscribe(broker.inbox(B))
        answers = [c.subscribe(topic) for topic in filters]
        c.subscribe(broker.inbox(C))
        a.publish(broker.message(B, A), b"for b")
        a.publish(broker.message(C, A), b"for c")
        arrived = b.until(lambda: bool(b.messages)) and c.until(lambda: b"for c" in _payloads(c))
        return arrived and _payloads(c) == {b"for c"}, ", ".join(answers)


def _takeover(broker: Target) -> tuple[bool, str]:
    """a connects under b's client identifier: b must stay connected, and receive what is for it."""
    with broker.connect(B) as b:
        b.subscribe(broker.inbox(B))
        with broker.pretend(broker.issue(A), B) as a:
            a.publish(broker.message(B, A))
            stayed = b.until(lambda: bool(b.messages)) and b.connected
            return stayed, f"a: {'let in' if a.connected else a.reason}; b: {'stayed' if stayed else b.reason}"


def _oversized(broker: Target) -> tuple[bool, str]:
    with broker.connect(A) as a, broker.connect(B) as b:
        b.subscribe(broker.inbox(B))
        a.publish(broker.message(B, A), bytes(LARGEST))
        fits = b.until(lambda: len(b.messages) == 1)
        answer = a.publish(broker.message(B, A), bytes(2 * rules.PACKET))
        with broker.connect(D) as d:
            d.publish(broker.message(B, D), HONEST)
            alive = b.until(lambda: HONEST in _payloads(b))
        return fits and alive and all(len(payload) <= LARGEST for payload in _payloads(b)), answer


def _refused(broker: Target, name: str, credentials: Credentials | None) -> tuple[bool, str]:
    with broker.connect(A) as honest:
        let_in = honest.connected
    with broker.pretend(credentials, name) as stranger:
        return let_in and not stranger.connected, stranger.reason


def _retained(broker: Target) -> tuple[bool, str]:
    """a publishes b's status, retained: the monitor must not read it."""
    fleet = broker.fleet.name
    with broker.connect(A) as a, broker.connect(rules.MONITOR) as monitor:
        answer = a.publish(topics.status(fleet, B), b"forged", retain=True)
        monitor.subscribe(topics.status(fleet, "+"))
        a.publish(topics.status(fleet, A), HONEST)
        arrived = monitor.until(lambda: HONEST in _payloads(monitor))
        return arrived and b"forged" not in _payloads(monitor), answer


def _monitor_only_reads(broker: Target) -> tuple[bool, str]:
    """The monitor reads a's status, and may publish nothing at all: not even its own."""
    fleet = broker.fleet.name
    own = f"homeassistant/sensor/{fleet}-{rules.MONITOR}/round/config"
    forbidden = [broker.message(B, rules.MONITOR), own, topics.status(fleet, rules.MONITOR)]
    forbidden += [topics.telemetry(fleet, rules.MONITOR), topics.status(fleet, A), broker.message(B, A)]
    with broker.connect(A) as a, broker.connect(rules.MONITOR) as monitor, broker.connect(B) as b:
        b.subscribe(broker.inbox(B))
        monitor.subscribe(topics.status(fleet, "+"))
        answers = {monitor.publish(topic) for topic in forbidden}
        a.publish(topics.status(fleet, A), HONEST)
        a.publish(broker.message(B, A), HONEST)
        reads = monitor.until(lambda: HONEST in _payloads(monitor)) and b.until(lambda: HONEST in _payloads(b))
        return reads and answers == {"Not authorized"} and _payloads(b) == {HONEST}, ", ".join(sorted(answers))


def _is_bounded(broker: Target) -> tuple[bool, str]:
    """By its configuration: to fill a broker that runs would stop its fleet."""
    lines = (line.split() for line in broker.settings.splitlines())
    values = {words[0]: words[1] for words in lines if len(words) == 2 and words[0] in BOUNDS}
    wrong = [key for key, most in BOUNDS.items() if not 0 < int(values.get(key, "0")) <= most]
    memory = int(values.get("memory_limit", "0")) / 1e6
    return not wrong, f"without a bound: {', '.join(wrong)}" if wrong else f"at most {memory:.0f} MB"


def _weak_cipher(broker: Target) -> tuple[bool, str]:
    """A client that speaks only TLS 1.2 without authenticated encryption is not let in, one with it is."""
    answers = []
    for ciphers in (CIPHERS, WEAK):
        context = broker.issue(A).context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(ciphers)
        try:
            with (
                socket.create_connection((broker.host, broker.port), timeout=probe.TIMEOUT) as plain,
                context.wrap_socket(plain, server_hostname=broker.host) as secure,
            ):
                answers.append((secure.cipher() or ("none",))[0])
        except (OSError, ssl.SSLError) as reason:
            answers.append(f"refused: {reason}")
    return not answers[0].startswith("refused") and answers[1].startswith("refused"), ", then ".join(answers)


def _no_key_is_open(broker: Target) -> tuple[bool, str]:
    keys = list(broker.fleet.folder.rglob("*.key"))
    loose = [str(k.relative_to(broker.fleet.folder)) for k in keys if k.stat().st_mode & 0o077]
    if broker.fleet.folder.stat().st_mode & 0o077:
        loose.append(f"the folder {broker.fleet.folder.name}: chmod 700")
    return bool(keys) and not loose, f"{len(keys)} keys, {', '.join(loose) or 'all 0600, in a folder of 0700'}"


def _payloads(client: ProbeClient) -> set[bytes]:
    return {payload for _, payload in client.messages}


CHECKS: dict[str, Callable[[Target], tuple[bool, str]]] = {
    "neighbours hear one another": _neighbours,
    "a device cannot speak as another": lambda broker: _cannot_publish(broker, broker.message(B, C)),
    "a device cannot speak to another fleet": lambda broker: _cannot_publish(
        broker, topics.Address("other", B, A, "soft-labels").topic
    ),
    "a device cannot send kinds that nobody knows": lambda broker: _cannot_publish(
        broker, topics.Address(broker.fleet.name, B, A, "gossip").topic
    ),
    "a device cannot send to who is not enrolled": lambda broker: _cannot_publish(
        broker, broker.message("nobody", A), retain=True
    ),
    "a device cannot ask as the operator does": lambda broker: _cannot_publish(
        broker, topics.Address(broker.fleet.name, B, A, "ask").topic
    ),
    "a device cannot leave what nobody looks for": lambda broker: _cannot_publish(
        broker, f"homeassistant/sensor/{broker.fleet.name}-{A}/anything/config", retain=True
    ),
    "the monitor cannot publish": _monitor_only_reads,
    "a device cannot forge another's status": _retained,
    "a device cannot read another's inbox": lambda broker: _cannot_read(broker, f"fleet/{broker.fleet.name}/to/{B}/#"),
    "a device cannot read all by wildcards": lambda broker: _cannot_read(broker, "#", "+/+/+/+/+/+/+"),
    "a device cannot read by a shared subscription": lambda broker: _cannot_read(
        broker, f"$share/g/fleet/{broker.fleet.name}/to/{B}/#"
    ),
    "a device cannot take over another's session": _takeover,
    "a packet that is too large is refused": _oversized,
    "what the broker holds is bounded": _is_bounded,
    "a cipher without authentication is refused": _weak_cipher,
    "without a certificate nobody is let in": lambda broker: _refused(
        broker, A, Credentials(broker.fleet.folder / "authority.crt", check_hostname=False)
    ),
    "without TLS nobody is let in": lambda broker: _refused(broker, A, None),
    "a foreign certificate is refused": lambda broker: _refused(broker, A, broker.issue(A, foreign=True)),
    "an expired certificate is refused": lambda broker: _refused(broker, A, broker.issue(A, expired=True)),
    "a revoked certificate is refused": lambda broker: _refused(
        broker, "revoked", broker.credentials(broker.fleet.folder / "proof" / "revoked")
    ),
    "the server's certificate is no device's": lambda broker: _refused(
        broker, "server", broker.credentials(broker.fleet.broker / "server")
    ),
    "private keys are their owner's alone": _no_key_is_open,
}
