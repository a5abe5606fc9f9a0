"""What every transport promises (edge.interfaces.Transport): through memory, and through real brokers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict

import pytest

from broker import embedded
from edge.errors import TransportError
from edge.interfaces import Delivery, Transport
from edge.transports import memory, mqtt
from edge.transports._receive_queue import LARGEST, PER_SENDER
from tests.waiting import eventually

Attach = Callable[[str], Transport]
KINDS = ["memory", "mosquitto-5", "mosquitto-3", "iotcore"]


def broker_or_skip(kind: str) -> None:
    if kind not in embedded.available():
        if os.environ.get("CI"):
            pytest.fail(f"{kind} must be installed where CI runs")
        pytest.skip(f"{kind} is not installed")


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with ExitStack() as stack:
        yield {kind: stack.enter_context(embedded.running(kind)).url for kind in embedded.available()}


@pytest.fixture(params=KINDS)
def attach(request: pytest.FixtureRequest, urls: dict[str, str]) -> Iterator[Attach]:
    kind, _, version = request.param.partition("-")
    fleet = f"fleet-{abs(hash(request.node.name)) % 10**6:06d}"
    with ExitStack() as stack:
        if kind == "memory":
            hub = memory.Network(fleet)
        else:
            broker_or_skip(kind)

        def attach(me: str) -> Transport:
            transport: Transport
            if kind == "memory":
                transport = hub.attach(me)
            else:
                transport = mqtt.create(url=urls[kind], fleet=fleet, me=me, lasting=False, version=int(version or 0))
            stack.callback(transport.close)
            return transport

        yield attach


def collect(transport: Transport, count: int) -> list[Delivery]:
    """At least `count` deliveries, in order of arrival."""
    deliveries: list[Delivery] = []

    def enough() -> bool:
        transport.wait(0.05)
        deliveries.extend(transport.receive())
        return len(deliveries) >= count

    eventually(enough)
    return deliveries


def test_who_said_what_to_whom(attach: Attach) -> None:
    a, b, c = attach("a"), attach("b"), attach("c")
    a.send("b", "soft-labels", b"one")
    c.send("b", "weights", b"two")
    a.send("c", "again", b"")
    deliveries = collect(b, 2)
    assert sorted(deliveries, key=lambda d: d.sender) == [
        Delivery("a", "soft-labels", b"one"),
        Delivery("c", "weights", b"two"),
    ]
    assert collect(c, 1) == [Delivery("a", "again", b"")]
    assert a.receive() == []


def test_in_order_and_none_lost(attach: Attach) -> None:
    a, b = attach("a"), attach("b")
    payloads = [f"{i}".encode() * (i % 7) for i in range(200)]
    for payload in payloads:
        a.send("b", "k", payload)
    assert [d.payload for d in collect(b, 200)] == payloads


def test_large_payloads(attach: Attach) -> None:
    a, b = attach("a"), attach("b")
    payload = os.urandom(512_000)
    a.send("b", "weights", payload)
    assert collect(b, 1)[0].payload == payload


def test_waiting(attach: Attach) -> None:
    a, b = attach("a"), attach("b")
    assert not b.wait(0.01)
    a.send("b", "k", b"x")
    eventually(lambda: b.wait(0.1))
    assert b.wait(0)
    collect(b, 1)
    assert not b.wait(0)


def test_an_inbox_is_bounded_per_sender(attach: Attach) -> None:
    a, b, c = attach("a"), attach("b"), attach("c")
    c.send("b", "k", b"quiet")
    eventually(lambda: b.traffic.messages_received == 1)
    for i in range(PER_SENDER + 20):
        a.send("b", "k", str(i).encode())
    eventually(lambda: b.traffic.messages_received == PER_SENDER + 21)
    deliveries = b.receive()
    assert [d.payload for d in deliveries if d.sender == "a"] == [str(i).encode() for i in range(20, PER_SENDER + 20)]
    assert [d.payload for d in deliveries if d.sender == "c"] == [b"quiet"]
    assert b.traffic.overflowed == 20


def test_traffic_is_counted_alike(attach: Attach, request: pytest.FixtureRequest) -> None:
    a, b = attach("a"), attach("b")
    for size in (0, 40, 3040, 150_000):
        a.send("b", "soft-labels", bytes(size))
    collect(b, 4)
    expected = memory.Network("fleet-000000")
    twin, other = expected.attach("a"), expected.attach("b")
    for size in (0, 40, 3040, 150_000):
        twin.send("b", "soft-labels", bytes(size))
    ours, theirs = asdict(a.traffic), asdict(twin.traffic)
    if getattr(a, "version", 5) == 3:  # no properties in 3.1.1
        theirs["wire_bytes_sent"] -= 4 * 6
    assert ours == theirs
    assert b.traffic.payload_bytes_received == other.traffic.payload_bytes_received == 153_080


def test_close_twice_and_say_nothing_more(attach: Attach) -> None:
    a, b = attach("a"), attach("b")
    a.send("b", "k", b"last words")
    a.close()
    a.close()
    assert collect(b, 1)[0].payload == b"last words"


def test_telemetry_does_not_disturb(attach: Attach) -> None:
    a, b = attach("a"), attach("b")
    a.report({"round": 1.0, "loss": 0.5})
    a.send("b", "k", b"x")
    assert len(collect(b, 1)) == 1
    assert a.traffic.messages_sent == 1


@pytest.fixture
def mosquitto(urls: dict[str, str]) -> str:
    broker_or_skip("mosquitto")
    return urls["mosquitto"]


def test_hostile_topics_and_sizes(mosquitto: str) -> None:
    import paho.mqtt.client as paho  # noqa: TID251
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: TID251

    b, a = (mqtt.create(url=mosquitto, fleet="hostile", me=me, lasting=False) for me in "ba")
    enemy = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    enemy.connect("127.0.0.1", int(mosquitto.rsplit(":", 1)[1]))
    enemy.loop_start()
    try:
        for sender, payload in [("x" * 300, b"1"), ("ü", b"2"), ("e", bytes(LARGEST + 1)), ("a b", b"3")]:
            enemy.publish(f"fleet/hostile/to/b/from/{sender}/k", payload, qos=1).wait_for_publish(10)
        a.send("b", "k", b"honest")
        assert [d.payload for d in collect(b, 1)] == [b"honest"]
        assert b.traffic.overflowed == 1
    finally:
        enemy.disconnect()
        enemy.loop_stop()
        a.close()
        b.close()


def test_what_is_said_while_away_is_kept(mosquitto: str) -> None:
    b = mqtt.create(url=mosquitto, fleet="away", me="b")
    b.close()
    a = mqtt.create(url=mosquitto, fleet="away", me="a")
    a.send("b", "k", b"while you were out")
    a.close()
    again = mqtt.create(url=mosquitto, fleet="away", me="b")
    try:
        assert collect(again, 1) == [Delivery("a", "k", b"while you were out")]
    finally:
        again.close()


def test_a_broker_that_comes_back_is_found_again() -> None:
    broker_or_skip("mosquitto")
    with ExitStack() as stack:
        with embedded.running("mosquitto") as first:
            a, b = (mqtt.create(url=first.url, fleet="f", me=me) for me in "ab")
            stack.callback(a.close)
            stack.callback(b.close)
            a.send("b", "k", b"before")
            collect(b, 1)
        a.send("b", "k", b"while it was gone")
        with embedded.running("mosquitto", first.port):
            # b's session went with the broker; only what is sent after b is back is sure to arrive.
            def arrives() -> bool:
                a.send("b", "k", b"after")
                b.wait(0.1)
                return any(d.payload == b"after" for d in b.receive())

            eventually(arrives, seconds=60)


def test_the_last_will_tells_of_a_sudden_end(mosquitto: str) -> None:
    """Status is retained: online while there, offline after a goodbye or without one."""
    import paho.mqtt.client as paho  # noqa: TID251
    from paho.mqtt.enums import CallbackAPIVersion  # noqa: TID251

    seen: list[bytes] = []
    watcher = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    watcher.on_message = lambda _client, _data, message: seen.append(bytes(message.payload))
    watcher.connect("127.0.0.1", int(mosquitto.rsplit(":", 1)[1]))
    watcher.subscribe("fleet/will/status/a", qos=1)
    watcher.loop_start()
    code = (
        "import os, signal; from edge.transports import mqtt\n"
        f"mqtt.create(url={mosquitto!r}, fleet='will', me='a'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    try:
        subprocess.run([sys.executable, "-c", code], check=False)
        eventually(lambda: seen == [b"online", b"offline"])
        mqtt.create(url=mosquitto, fleet="will", me="a").close()
        eventually(lambda: seen == [b"online", b"offline"] * 2)
    finally:
        watcher.disconnect()
        watcher.loop_stop()


def test_nobody_there() -> None:
    from broker.process import free_port

    with pytest.raises(TransportError, match=r"no MQTT broker answers at mqtt://127\.0\.0\.1:\d+ .*edge-broker dev"):
        mqtt.create(url=f"mqtt://127.0.0.1:{free_port(None)}", fleet="f", me="a")


def test_something_else_is_there() -> None:
    """A server that accepts and hangs up, as a web server would."""
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with pytest.MonkeyPatch.context():
                try:
                    while True:
                        server.accept()[0].close()
                except OSError:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        try:
            with pytest.raises(TransportError, match=r"the broker at mqtt://127\.0\.0\.1:\d+ "):
                mqtt.create(url=f"mqtt://127.0.0.1:{server.getsockname()[1]}", fleet="f", me="a")
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
