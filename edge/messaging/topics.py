"""Topic strings, both ways, and the size of the packets that carry them (docs/wire.md).

    fleet/{fleet}/to/{receiver}/from/{sender}/{kind}    messages
    fleet/{fleet}/status/{id}                           "online" or "offline", retained
    fleet/{fleet}/telemetry/{id}                        one row of metrics, flat JSON

A device may publish only where it is {sender} and read only where it is {receiver}. The broker's access rules enforce
it, so that the sender is known from the topic and never from a payload.

>>> parse("fleet/orchard/to/a/from/b/weights")
Address(fleet='orchard', receiver='a', sender='b', kind='weights')
"""

import re
from dataclasses import dataclass

from edge.errors import ConfigError
from edge.interfaces import NodeId

EXPIRY = 24 * 3600
"""Seconds after which the broker may forget an undelivered message (MQTT 5)."""
STATUS, TELEMETRY = "status", "telemetry"
"""channels of a device's own topics"""
ONLINE, OFFLINE = b"online", b"offline"
"""what a status says"""
PRESENCE = "$presence"
"""The kind of a delivery by which a transport that knows says that its sender is ONLINE or OFFLINE (its payload). No
topic has it, so that no neighbour can send it."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""of a fleet, a device, a kind: `name` is the one check. A name is also that of a folder, so none is ".." or hidden."""


@dataclass(frozen=True)
class Address:
    """Where one message goes, and who sent it."""

    fleet: str
    receiver: NodeId
    sender: NodeId
    kind: str

    @property
    def topic(self) -> str:
        """The topic of the message."""
        return f"fleet/{self.fleet}/to/{self.receiver}/from/{self.sender}/{self.kind}"


def parse(topic: str) -> Address | None:
    """Return the address that a topic stands for; None if it is no topic of a message."""
    parts = topic.split("/")
    if len(parts) != 7 or (parts[0], parts[2], parts[4]) != ("fleet", "to", "from"):
        return None
    names = parts[1], parts[3], parts[5], parts[6]
    return Address(*names) if all(map(is_name, names)) else None


@dataclass(frozen=True)
class DeviceTopic:
    """Where a device speaks to whoever watches the fleet. channel: STATUS or TELEMETRY."""

    fleet: str
    device: NodeId
    channel: str


def parse_device(topic: str) -> DeviceTopic | None:
    """Read a device's own topic.

    Args:
        topic: of an MQTT message.

    Returns:
        Whose status or telemetry it carries; None if it is neither.

    >>> parse_device("fleet/orchard/status/device-0")
    DeviceTopic(fleet='orchard', device='device-0', channel='status')
    """
    parts = topic.split("/")
    if len(parts) != 4 or parts[0] != "fleet" or parts[2] not in (STATUS, TELEMETRY):
        return None
    fleet, device = parts[1], parts[3]
    return DeviceTopic(fleet, device, parts[2]) if is_name(fleet) and is_name(device) else None


def inbox(fleet: str, me: NodeId) -> str:
    """Return the topic filter to which a device subscribes."""
    return f"fleet/{fleet}/to/{me}/from/+/+"


def status(fleet: str, me: NodeId) -> str:
    """Return the topic at which a device is "online" or "offline"."""
    return f"fleet/{fleet}/{STATUS}/{me}"


def telemetry(fleet: str, me: NodeId) -> str:
    """Return the topic at which a device publishes its metrics."""
    return f"fleet/{fleet}/{TELEMETRY}/{me}"


def is_name(text: str) -> bool:
    """Whether a text may name a fleet, a device or a kind in a topic."""
    return _NAME.fullmatch(text) is not None


def name(text: str, noun: str) -> str:
    """Check a name that is to stand in a topic.

    Args:
        text: the name.
        noun: what it names, for the error message.

    Returns:
        `text`.

    Raises:
        ConfigError: it is not 1 to 64 letters, digits, '_', '.' or '-', beginning with a letter or digit.
    """
    if not is_name(text):
        raise ConfigError(
            f"{noun} '{text}' must be 1 to 64 letters, digits, '_', '.' or '-', and begin with a letter or digit"
        )
    return text


def publish_size(topic: str, payload: int, version: int = 5) -> int:
    """Compute the size of the MQTT PUBLISH packet (QoS 1) that carries a payload.

    Fixed header, topic, packet identifier, and for version 5 the properties: the message's expiry (MQTT 5.0, section
    3.3).

    Args:
        topic: of the message.
        payload: bytes of the payload.
        version: of MQTT, 5 or 3 (3.1.1).

    Returns:
        Bytes of the packet.
    """
    rest = 2 + len(topic.encode()) + 2 + (6 if version == 5 else 0) + payload
    length = 1
    while rest >> (7 * length):
        length += 1
    return 1 + length + rest
