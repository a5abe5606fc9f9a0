"""Sessions at a real broker: one name used twice, neighbours that are there or not, and beginning anew."""

from collections.abc import Iterator

import pytest
from paho.mqtt.packettypes import PacketTypes  # noqa: TID251
from paho.mqtt.reasoncodes import ReasonCode  # noqa: TID251

from broker import embedded
from edge.errors import TransportError
from edge.interfaces import Delivery
from edge.messaging.topics import PRESENCE
from edge.transports import mqtt
from tests.programs import program_or_skip
from tests.waiting import eventually


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    program_or_skip("mosquitto")
    with embedded.running("mosquitto") as broker:
        yield broker.url


def test_of_two_nodes_with_one_name_one_ends(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker says that the session was taken over: it comes back later each time, and ends after some.

    Mosquitto 2.0.11 closes the connection without a word instead, so the reason is handed in here.
    """
    delays: list[float] = []
    node = mqtt.create(url=url, fleet="twins", me="a", lasting=False)
    monkeypatch.setattr(node._client, "reconnect_delay_set", lambda least, _most: delays.append(least))
    reason = ReasonCode(PacketTypes.DISCONNECT, identifier=mqtt.TAKEN_OVER)
    assert str(reason) == "Session taken over"
    try:
        for _ in range(mqtt.TAKEOVERS):
            assert node.receive() == []
            node._on_disconnect(node._client, None, None, reason, None)
        assert node.wait(5)  # a node that sleeps until something arrives wakes up
        with pytest.raises(TransportError, match="another node calls itself a in fleet twins"):
            node.receive()
        assert node.traffic.taken_over == mqtt.TAKEOVERS
        assert delays == [2.0, 4.0, 8.0, 16.0, 32.0]
        assert caplog.text.count("another client that calls itself a") == mqtt.TAKEOVERS
    finally:
        node.close()


def test_a_neighbour_that_comes_and_goes_is_delivered_as_presence(url: str) -> None:
    a = mqtt.create(url=url, fleet="presence", me="a", lasting=False)
    seen: list[Delivery] = []

    def saw(*payloads: bytes) -> bool:
        a.wait(0.05)
        seen.extend(a.receive())
        return seen == [Delivery("b", PRESENCE, payload) for payload in payloads]

    try:
        a.watch(["b", "c"])
        b = mqtt.create(url=url, fleet="presence", me="b", lasting=False)
        eventually(lambda: saw(b"online"), 20)
        stranger = mqtt.create(url=url, fleet="presence", me="d", lasting=False)
        stranger.close()
        b.close()
        eventually(lambda: saw(b"online", b"offline"), 20)
        assert a.traffic.messages_received == 0
    finally:
        a.close()


@pytest.mark.parametrize("version", [3, 5])
def test_a_fresh_start_gets_nothing_that_was_kept(url: str, version: int) -> None:
    fleet = f"fresh{version}"
    a = mqtt.create(url=url, fleet=fleet, me="a", version=version)
    mqtt.create(url=url, fleet=fleet, me="b", version=version).close()
    a.send("b", "k", b"of another life")
    a.close()
    b = mqtt.create(url=url, fleet=fleet, me="b", version=version, fresh=True)
    c = mqtt.create(url=url, fleet=fleet, me="c", version=version)
    try:
        c.send("b", "k", b"of this one")
        eventually(lambda: b.wait(0.05), 20)
        assert [delivery.payload for delivery in b.receive()] == [b"of this one"]
    finally:
        b.close()
        c.close()
