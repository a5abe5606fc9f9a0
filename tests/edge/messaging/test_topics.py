"""Topics both ways, and packet sizes against what paho really writes."""

import socket
import threading

import paho.mqtt.client as paho  # noqa: TID251
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.enums import CallbackAPIVersion  # noqa: TID251
from paho.mqtt.packettypes import PacketTypes  # noqa: TID251
from paho.mqtt.properties import Properties  # noqa: TID251

from edge.errors import ConfigError
from edge.messaging import topics
from edge.messaging.topics import Address

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", fullmatch=True)


@given(NAMES, NAMES, NAMES, NAMES)
def test_there_and_back(fleet: str, receiver: str, sender: str, kind: str) -> None:
    address = Address(fleet, receiver, sender, kind)
    assert topics.parse(address.topic) == address


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "fleet",
        "fleet/f/to/a/from/b",
        "fleet/f/to/a/from/b/kind/more",
        "fleet/f/from/a/to/b/kind",
        "fleet//to/a/from/b/kind",
        "fleet/f/to/+/from/b/kind",
        "fleet/f/to/a/from/b c/kind",
        "$SYS/f/to/a/from/b/kind",
    ],
)
def test_other_topics(topic: str) -> None:
    assert topics.parse(topic) is None


@pytest.mark.parametrize("name", ["", "a/b", "a+", "#", "a b", "x" * 65, "ü"])
def test_bad_names(name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 64 letters"):
        topics.name(name, "device")


@pytest.mark.parametrize("version", [3, 5])
@pytest.mark.parametrize("payload", [0, 1, 50, 90, 200, 20_000, 511_000])
def test_publish_size_is_what_paho_writes(version: int, payload: int) -> None:
    topic = Address("demo", "device-1", "device-2", "soft-labels").topic
    assert len(_written(topic, bytes(payload), version)) == topics.publish_size(topic, payload, version)


def _written(topic: str, payload: bytes, version: int) -> bytes:
    """The PUBLISH packet as a stand-in for a broker reads it from the socket."""
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        reader = threading.Thread(target=_read_publish, args=(server, version, got))
        reader.start()
        client = paho.Client(
            CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5 if version == 5 else paho.MQTTv311, client_id="size"
        )
        client.connect("127.0.0.1", server.getsockname()[1])
        client.loop_start()
        properties = Properties(PacketTypes.PUBLISH) if version == 5 else None  # type: ignore[no-untyped-call]
        if properties is not None:
            properties.MessageExpiryInterval = topics.EXPIRY
        client.publish(topic, payload, qos=1, properties=properties)
        reader.join(10)
        client.disconnect()
        client.loop_stop()
    return got[0]


def _read_publish(server: socket.socket, version: int, got: list[bytes]) -> None:
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as stream:
        _packet(stream)
        connection.sendall(b"\x20\x03\x00\x00\x00" if version == 5 else b"\x20\x02\x00\x00")
        got.append(_packet(stream))


def _packet(stream: object) -> bytes:
    read = stream.read  # type: ignore[attr-defined]
    whole: bytes = read(1)
    length = shift = 0
    while True:
        byte: bytes = read(1)
        whole += byte
        length |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            rest: bytes = read(length)
            return whole + rest
