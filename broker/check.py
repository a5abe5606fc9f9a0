"""Proof that a fleet's broker refuses what it must: real connections, as devices and as those who would like to be.

Every check also shows that the honest thing works, so that a broker that refuses everybody does not pass. What must not
arrive is waited for by sending something honest after it, which must: brokers keep the order of one sender's messages.
"""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from broker import certificates, fleet, mosquitto
from broker.fleet import Fleet
from broker.process import free_port
from broker.visitor import Papers, Visitor, visit
from edge.errors import ConfigError, TransportError
from edge.messaging import topics


@dataclass(frozen=True)
class Check:
    """What was tried, whether the broker did as it must, and what it said."""

    name: str
    ok: bool
    found: str


@dataclass(frozen=True)
class Site:
    """A broker to be tried: where it is, the fleet it serves, and a folder for papers made for the occasion."""

    host: str
    port: int
    fleet: Fleet
    papers: Path

    def issue(self, name: str, *, days: int = 1, expired: bool = False, foreign: bool = False) -> Papers:
        """Papers of the fleet's authority, or of one that only calls itself so."""
        issuer = certificates.authority(self.fleet.name, 1) if foreign else self.fleet.authority()
        until = datetime.now(UTC) - timedelta(hours=1) if expired else None
        stem = self.papers / f"{name}-{secrets.token_hex(3)}"
        certificates.device(issuer, name, days, until=until).write(stem)
        return Papers(self.fleet.folder / "authority.crt", stem, self.host in self.fleet.hosts)

    def visit(self, name: str) -> AbstractContextManager[Visitor]:
        """Connect as `name`, with papers for it."""
        return visit(self.host, self.port, self.issue(name), name)

    def message(self, receiver: str, sender: str) -> str:
        """Topic of a message from `sender` to `receiver`."""
        return topics.Address(self.fleet.name, receiver, sender, "soft-labels").topic

    def inbox(self, receiver: str) -> str:
        """What `receiver` subscribes to."""
        return topics.inbox(self.fleet.name, receiver)


def address(text: str) -> tuple[str, int]:
    """HOST[:PORT] -> (host, port), 8883 if it is not said. Raises ConfigError."""
    host, _, port = text.rpartition(":") if ":" in text else (text, "", "8883")
    if not host or not port.isdigit():
        raise ConfigError(f"--broker {text}: expected HOST or HOST:PORT")
    return host, int(port)


@contextmanager
def site(folder: Path | None, address: tuple[str, int] | None) -> Iterator[Site]:
    """The broker to be tried: a running one at `address`, else a real Mosquitto on loopback with the fleet's own rules.

    folder: of the fleet; a throw-away one is made if absent. Raises TransportError: there is no Mosquitto here.
    """
    with TemporaryDirectory(prefix="murmur-check-") as name:
        here = Path(name)
        known = fleet.read(folder) if folder else fleet.init(here / "fleet", "proof", ["127.0.0.1"], 8883)
        (here / "papers").mkdir(mode=0o700)
        if address:
            yield Site(*address, known, here / "papers")
            return
        port, rules = free_port(None), here / "broker"
        shutil.copytree(known.broker, rules, ignore=shutil.ignore_patterns("data"))
        (rules / "data").mkdir()
        with mosquitto.run(fleet.configuration(rules, port, "127.0.0.1"), rules, port):
            yield Site("127.0.0.1", port, known, here / "papers")


def run(at: Site) -> Iterator[Check]:
    """All of CHECKS, each on its own connections."""
    for name, check in CHECKS.items():
        try:
            ok, said = check(at)
        except (OSError, TransportError) as reason:
            ok, said = False, str(reason)
        yield Check(name, ok, said)


def _neighbours(at: Site) -> tuple[bool, str]:
    with at.visit("a") as a, at.visit("b") as b:
        if not (a.connected and b.connected):
            return False, a.reason if not a.connected else b.reason
        granted = b.subscribe(at.inbox("b"))
        said = a.publish(at.message("b", "a"))
        return b.until(lambda: bool(b.heard)), f"subscription: {granted}; message: {said}"


def _cannot(at: Site, topic: str, *, receiver: str = "b") -> tuple[bool, str]:
    """a publishes on `topic`, and then on one that it may; b must hear only the second."""
    with at.visit("a") as a, at.visit(receiver) as b:
        b.subscribe(at.inbox(receiver))
        said = a.publish(topic)
        a.publish(at.message(receiver, "a"), b"honest")
        arrived = b.until(lambda: any(payload == b"honest" for _, payload in b.heard))
        heard = [t for t, payload in b.heard if payload != b"honest"]
        return arrived and not heard and said == "Not authorized", said


def _cannot_read(at: Site, *filters: str) -> tuple[bool, str]:
    """c subscribes to what is b's; a tells b, then c. c must hear only the second."""
    with at.visit("a") as a, at.visit("b") as b, at.visit("c") as c:
        b.subscribe(at.inbox("b"))
        said = [c.subscribe(topic) for topic in filters]
        c.subscribe(at.inbox("c"))
        a.publish(at.message("b", "a"), b"for b")
        a.publish(at.message("c", "a"), b"for c")
        arrived = b.until(lambda: bool(b.heard)) and c.until(lambda: any(p == b"for c" for _, p in c.heard))
        return arrived and all(p == b"for c" for _, p in c.heard), ", ".join(said)


def _takeover(at: Site) -> tuple[bool, str]:
    """a connects under b's client identifier: b must stay, and hear what is b's."""
    with at.visit("b") as b:
        b.subscribe(at.inbox("b"))
        with visit(at.host, at.port, at.issue("a"), "b") as a:
            a.publish(at.message("b", "a"))
            stayed = b.until(lambda: bool(b.heard)) and b.connected
            return stayed, f"a: {'let in' if a.connected else a.reason}; b: {'stayed' if stayed else b.reason}"


def _oversized(at: Site) -> tuple[bool, str]:
    with at.visit("a") as a, at.visit("b") as b:
        b.subscribe(at.inbox("b"))
        a.publish(at.message("b", "a"), bytes(512_000))
        fits = b.until(lambda: len(b.heard) == 1)
        said = a.publish(at.message("b", "a"), bytes(2 * fleet.PACKET))
        with at.visit("d") as d:
            d.publish(at.message("b", "d"), b"honest")
            alive = b.until(lambda: any(p == b"honest" for _, p in b.heard))
        return fits and alive and all(len(p) <= 512_000 for _, p in b.heard), said


def _refused(at: Site, name: str, papers: Papers) -> tuple[bool, str]:
    with at.visit("a") as honest:
        let_in = honest.connected
    with visit(at.host, at.port, papers, name) as stranger:
        return let_in and not stranger.connected, stranger.reason


def _retained(at: Site) -> tuple[bool, str]:
    """a publishes b's status, retained: the monitor must not read it."""
    known = at.fleet.name
    with at.visit("a") as a, at.visit(fleet.MONITOR) as monitor:
        said = a.publish(topics.status(known, "b"), b"forged", retain=True)
        monitor.subscribe(topics.status(known, "+"))
        a.publish(topics.status(known, "a"), b"honest")
        arrived = monitor.until(lambda: any(p == b"honest" for _, p in monitor.heard))
        return arrived and all(p != b"forged" for _, p in monitor.heard), said


def _no_key_is_open(at: Site) -> tuple[bool, str]:
    keys = list(at.fleet.folder.rglob("*.key"))
    loose = [str(k.relative_to(at.fleet.folder)) for k in keys if k.stat().st_mode & 0o077]
    return bool(keys) and not loose, f"{len(keys)} keys, {', '.join(loose) or 'all 0600'}"


CHECKS: dict[str, Callable[[Site], tuple[bool, str]]] = {
    "neighbours hear one another": _neighbours,
    "a device cannot speak as another": lambda at: _cannot(at, at.message("b", "c")),
    "a device cannot speak to another fleet": lambda at: _cannot(
        at, topics.Address("other", "b", "a", "soft-labels").topic
    ),
    "a device cannot forge another's status": _retained,
    "a device cannot read another's inbox": lambda at: _cannot_read(at, f"fleet/{at.fleet.name}/to/b/#"),
    "a device cannot read all by wildcards": lambda at: _cannot_read(at, "#", "+/+/+/+/+/+/+"),
    "a device cannot read by a shared subscription": lambda at: _cannot_read(
        at, f"$share/g/fleet/{at.fleet.name}/to/b/#"
    ),
    "a device cannot take over another's session": _takeover,
    "a packet that is too large is refused": _oversized,
    "without a certificate nobody is let in": lambda at: _refused(at, "a", Papers(at.fleet.folder / "authority.crt")),
    "without TLS nobody is let in": lambda at: _refused(at, "a", Papers()),
    "a foreign certificate is refused": lambda at: _refused(at, "a", at.issue("a", foreign=True)),
    "an expired certificate is refused": lambda at: _refused(at, "a", at.issue("a", expired=True)),
    "a revoked certificate is refused": lambda at: _refused(
        at, "revoked", replace(at.issue("a"), stem=at.fleet.folder / "proof" / "revoked")
    ),
    "the server's certificate is no device's": lambda at: _refused(
        at, "server", replace(at.issue("a"), stem=at.fleet.broker / "server")
    ),
    "private keys are their owner's alone": _no_key_is_open,
}
