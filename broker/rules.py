"""Mosquitto's side of a fleet: its configuration, and who may publish and read what.

>>> rules = access_rules("orchard", ["a", "b"])
>>> "pattern write fleet/orchard/to/b/from/%u/soft-labels" in rules.splitlines()
True
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge import kinds
from edge.messaging import topics
from edge.operations import remote
from edge.operations.home_assistant import SENSORS
from edge.transports.mqtt import CIPHERS

PACKET = 520_000
"""Bytes of the largest packet: a payload of 512 kB, its topic and properties."""
MONITOR = "monitor"
"""the name that may read what devices report about themselves, and nothing else"""
DASHBOARD = "dashboard"
"""the same for a second client: the broker throws out one of two that have one name"""
OPERATOR = remote.OPERATOR
"""the name that may also ask devices for reports, and bring them models (`edge.operations.remote`)"""
BRIDGE = "bridge"
"""the name of another broker, which carries everybody's messages (docs/recipes/bridge.conf)"""
PROBES = ("check-a", "check-b", "check-c", "check-d")
"""names that `edge-broker check` uses; only the authority's owner can make certificates for them"""


@dataclass(frozen=True)
class Limits:
    """What a fleet may make its broker hold, in bytes.

    One device can leave a retained message for every kind and receiver, which Mosquitto's rules cannot forbid: some
    7 MB for each device of the fleet. `memory` leaves 5 MB more for each, so nobody alone can stop the others.
    """

    devices: int = 50

    @property
    def memory(self) -> int:
        """Of the whole broker."""
        return 64_000_000 + 12_000_000 * self.devices

    @property
    def queue(self) -> int:
        """For one device that is away."""
        return 16_000_000


def configuration(at: Path, port: int, address: str = "", limits: Limits = Limits()) -> str:
    """Return Mosquitto's configuration: every device by certificate, and nothing without a bound.

    Args:
        at: folder of its files on the broker's machine.
        port: to listen at.
        address: the only one to listen at; all of the machine's if absent.
        limits: of what it holds.
    """
    return f"""\
# Mosquitto 2 for one fleet. Only devices with a certificate of its authority are let in, each under the name in it.
listener {f"{port} {address}".rstrip()}
cafile {at}/authority.crt
certfile {at}/server.crt
keyfile {at}/server.key
crlfile {at}/revoked.pem
tls_version tlsv1.2
ciphers {CIPHERS}
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file {at}/acl

# What the broker holds: for {limits.devices} devices, each with a queue of its own, of messages of at most 512 kB.
memory_limit {limits.memory}
max_packet_size {PACKET}
max_inflight_messages 100
max_queued_messages 2000
max_queued_bytes {limits.queue}
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


def access_rules(
    name: str, enrolled: Sequence[str] = (), revoked: Sequence[str] = (), more_kinds: Sequence[str] = ()
) -> str:
    """Return Mosquitto's access rules: a device writes only as the sender, and reads only as the receiver.

    Messages have a kind that is known and a receiver that is enrolled, so that nobody can fill the broker with others.

    Args:
        name: of the fleet. (In the rules `%u` is the name in a device's certificate.)
        enrolled: everybody who has been, whatever their role.
        revoked: devices of which a connection may still be open, which a revocation list does not end.
        more_kinds: of message, besides those of the protocols here.
    """
    devices = [who for who in (*sorted(enrolled), *PROBES) if who not in (MONITOR, DASHBOARD, OPERATOR, BRIDGE)]
    between = [*sorted({*kinds.declared(), *more_kinds}), kinds.RESERVED]
    return "\n".join(
        [
            *(f"pattern write {topics.Address(name, to, '%u', kind).topic}" for to in devices for kind in between),
            *(
                f"pattern write {topics.Address(name, OPERATOR, '%u', kind).topic}"
                for kind in (remote.REPORT, remote.FILES)
            ),
            f"pattern read {topics.inbox(name, '%u')}",
            f"pattern write {topics.status(name, '%u')}",
            f"pattern read {topics.status(name, '+')}",
            f"pattern write {topics.telemetry(name, '%u')}",
            *(f"pattern write homeassistant/sensor/{name}-%u/{key}/config" for key in SENSORS),
            "",
            "# The patterns above are for everybody; these two only read.",
            *(line for reader in (MONITOR, DASHBOARD) for line in _reading(name, reader)),
            f"user {OPERATOR}",
            f"topic read {topics.status(name, '+')}",
            f"topic read {topics.telemetry(name, '+')}",
            *(
                f"topic write {topics.Address(name, to, OPERATOR, kind).topic}"
                for to in devices
                for kind in (remote.ASK, remote.ROLLOUT)
            ),
            "",
            f"user {BRIDGE}",
            f"topic readwrite fleet/{name}/#",
            *(line for device in revoked for line in ("", f"user {device}", "topic deny #")),
            "",
        ]
    )


def _reading(name: str, reader: str) -> list[str]:
    """The rules of one who sees what devices report of themselves, and writes nothing."""
    return [
        f"user {reader}",
        f"topic read {topics.status(name, '+')}",
        f"topic read {topics.telemetry(name, '+')}",
        f"topic deny fleet/{name}/to/#",
        f"topic deny {topics.status(name, reader)}",
        f"topic deny {topics.telemetry(name, reader)}",
        f"topic deny homeassistant/sensor/{name}-{reader}/#",
        "",
    ]
