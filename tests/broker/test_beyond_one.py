"""More than one broker: the recipes of docs/recipes as they stand, with other ports."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from broker import fleet, mosquitto, rules
from broker.process import free_port, running
from edge.codec import decode, encode, join
from edge.errors import TransportError
from edge.interfaces import Delivery, Message
from edge.transports import mqtt
from tests.waiting import eventually

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
MESSAGE = Message("soft-labels", 3, bytes(8), np.full((300, 10), 0.1, np.float32))


def deliver(sender: mqtt.MqttTransport, receiver: mqtt.MqttTransport, name: str, count: int = 20) -> None:
    """`count` messages from one to the other arrive, whole, and from the right sender."""
    (payload,) = encode(MESSAGE, "simplex:8")
    for _ in range(count):
        sender.send(name, "soft-labels", payload)
    deliveries: list[Delivery] = []
    while len(deliveries) < count:
        assert receiver.wait(30), f"{len(deliveries)} of {count} came"
        deliveries += receiver.receive()
    for delivery in deliveries:
        assert delivery.sender == sender._me
        np.testing.assert_allclose(join([decode(delivery.payload)]).values, MESSAGE.values, atol=1 / 255)


def test_a_bridge_between_two_brokers(tmp_path: Path) -> None:
    """Two Mosquittos with the fleet's own rules; a device at each, and one certificate that bridges them."""
    ports = free_port(None), free_port(None)
    orchard = fleet.init(tmp_path / "orchard", "orchard", ["127.0.0.1"], ports[0])
    folders = {name: fleet.enrol(orchard, name, 30) for name in ("a", "b", "bridge")}
    recipe = (
        (RECIPES / "bridge.conf")
        .read_text()
        .replace("broker.example:8883", f"127.0.0.1:{ports[0]}")
        .replace("/etc/mosquitto/fleet/", f"{orchard.broker}/")
        .replace("/etc/mosquitto/bridge/", f"{folders['bridge']}/")
        .replace("fleet/FLEET/", "fleet/orchard/")
    )
    second = tmp_path / "second"
    shutil.copytree(orchard.broker, second)
    with ExitStack() as stack:
        for port, folder, more in ((ports[0], orchard.broker, ""), (ports[1], second, recipe)):
            stack.enter_context(mosquitto.run(rules.configuration(folder, port, "127.0.0.1") + more, folder, port))
        ends = []
        for name, port in zip("ab", ports, strict=True):
            credentials = mqtt.Credentials.of_folder(folders[name])
            end = mqtt.create(url=f"mqtts://127.0.0.1:{port}", fleet="orchard", me=name, credentials=credentials)
            stack.callback(end.close)
            ends.append(end)
        a, b = ends
        deliver(a, b, "b")
        deliver(b, a, "a")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[str]]:
    """Three NATS servers; the URLs under which each speaks MQTT."""
    program = shutil.which("nats-server", path=str(Path(sys.executable).parent))
    assert program is not None, "pip installs it with the tests"
    client, routes, ports = ([free_port(None) for _ in range(3)] for _ in range(3))
    text = (RECIPES / "nats.conf").read_text()
    with ExitStack() as stack:
        servers = []
        for n in range(3):
            conf = tmp_path / f"n{n}.conf"
            conf.write_text(
                text.replace("server_name: n1", f"server_name: n{n}")
                .replace("127.0.0.1:4222", f"127.0.0.1:{client[n]}")
                .replace("data-n1", str(tmp_path / f"data-{n}"))
                .replace("127.0.0.1:1883", f"127.0.0.1:{ports[n]}")
                .replace("listen: 127.0.0.1:6222", f"listen: 127.0.0.1:{routes[n]}")
                .replace("//127.0.0.1:6222", f"//127.0.0.1:{routes[0]}")
                .replace("//127.0.0.1:6223", f"//127.0.0.1:{routes[1]}")
                .replace("//127.0.0.1:6224", f"//127.0.0.1:{routes[2]}")
            )
            servers.append(running("nats-server", [program, "-c", str(conf)], client[n]))
        for server in servers:
            stack.enter_context(server)
        yield [f"mqtt://127.0.0.1:{port}" for port in ports]


def joined(url: str, me: str) -> mqtt.MqttTransport:
    """Connected, as soon as the servers have found one another and chosen who leads."""
    connections: list[mqtt.MqttTransport] = []

    def connected() -> bool:
        try:
            connections.append(mqtt.create(url=url, fleet="f", me=me))
        except TransportError:
            return False
        return True

    eventually(connected, 90)
    return connections[0]


def test_a_cluster_of_nats_servers(cluster: list[str]) -> None:
    with ExitStack() as stack:
        ends = [joined(url, name) for url, name in zip(cluster, "abc", strict=True)]
        for end in ends:
            stack.callback(end.close)
        deliver(ends[0], ends[2], "c")
        deliver(ends[2], ends[1], "b")
