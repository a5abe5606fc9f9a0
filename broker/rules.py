"""Mosquitto's side of a fleet: its configuration, and who may publish and read what.

>>> print(access_rules("orchard").splitlines()[0])
pattern write fleet/orchard/to/+/from/%u/+
"""

from collections.abc import Sequence
from pathlib import Path

from edge.messaging import topics

PACKET = 520_000
"""Bytes of the largest packet: a payload of 512 kB, its topic and properties."""
MONITOR = "monitor"
"""the name that may read what devices report about themselves, and nothing else"""
DASHBOARD = "dashboard"
"""the same for a second client: the broker throws out one of two that have one name"""
OPERATOR = "operator"
"""the name that may also ask devices for reports, and bring them models (`edge.operations.remote`)"""
BRIDGE = "bridge"
"""the name of another broker, which carries everybody's messages (docs/recipes/bridge.conf)"""


def configuration(at: Path, port: int, address: str = "") -> str:
    """Return Mosquitto's configuration: every device by certificate, and nothing without a bound.

    Args:
        at: folder of its files on the broker's machine.
        port: to listen at.
        address: the only one to listen at; all of the machine's if absent.
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
    """Return Mosquitto's access rules: a device writes only as the sender, and reads only as the receiver.

    Args:
        name: of the fleet. (In the rules `%u` is the name in a device's certificate.)
        revoked: devices of which a connection may still be open, which a revocation list does not end.
    """
    denied = "".join(f"\nuser {device}\ntopic deny #\n" for device in revoked)
    return f"""\
pattern write {topics.Address(name, "+", "%u", "+").topic}
pattern read {topics.inbox(name, "%u")}
pattern write {topics.status(name, "%u")}
pattern read {topics.status(name, "+")}
pattern write {topics.telemetry(name, "%u")}
pattern write homeassistant/sensor/{name}-%u/+/config

user {MONITOR}
topic read {topics.status(name, "+")}
topic read {topics.telemetry(name, "+")}

user {DASHBOARD}
topic read {topics.status(name, "+")}
topic read {topics.telemetry(name, "+")}

user {OPERATOR}
topic read {topics.status(name, "+")}
topic read {topics.telemetry(name, "+")}

user {BRIDGE}
topic readwrite fleet/{name}/#
{denied}"""
