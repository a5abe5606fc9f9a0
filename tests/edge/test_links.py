"""Narrow links of the memory transport: messages take their time, one after the other."""

from typing import Any

import pytest

from edge.sim.run import run
from edge.sim.scenario import Scenario
from edge.topics import Address, publish_size
from edge.transports.memory import Links, Network

UP, DOWN = 8_000.0, 16_000.0  # a byte takes 1 ms up and 0.5 ms down


def packet(size: int) -> float:
    """Bytes of the packet around a payload."""
    return publish_size(Address("f", "b", "a", "soft-labels").topic, size)


def test_one_after_the_other_up_and_down() -> None:
    clock = [0.0]
    network = Network("f", Links(UP, DOWN), lambda: clock[0])
    a, b = network.attach("a"), network.attach("b")
    a.send("b", "soft-labels", bytes(100))
    a.send("b", "soft-labels", bytes(100))
    up, down = packet(100) * 8 / UP, packet(100) * 8 / DOWN
    assert network.next_arrival == pytest.approx(up + down)
    assert b.receive() == []
    clock[0] = up + down
    assert len(b.receive()) == 1
    assert network.next_arrival == pytest.approx(2 * up + down)  # the second waited for the first's uplink
    clock[0] = 1e3
    assert len(b.receive()) == 1
    assert network.next_arrival is None
    assert a.traffic.payload_bytes_sent == b.traffic.payload_bytes_received == 200


def test_a_wide_node_does_not_wait() -> None:
    clock = [0.0]
    network = Network("f", Links(UP, DOWN, frozenset("b")), lambda: clock[0])
    a, b = network.attach("a"), network.attach("b")
    a.send("b", "soft-labels", bytes(100))
    assert network.next_arrival == pytest.approx(packet(100) * 8 / UP)
    b.send("a", "soft-labels", bytes(100))
    clock[0] = packet(100) * 8 / DOWN
    assert len(a.receive()) == 1


def test_a_round_takes_what_its_bytes_take() -> None:
    """D-PSGD on a ring: a neighbour's model is the first or the second on its uplink; nobody asks, nothing is lost."""
    base: dict[str, Any] = {"devices": 4, "model": "zoo:mlp:16", "rounds": 3, "protocol": "d-psgd", "uplink": 200.0}
    found = run(Scenario(**base))
    (size,) = {(d.wire_bytes_sent // d.messages_sent) for d in found.devices}
    for number in found.rounds:
        assert number.link_seconds is not None
        assert size * 8 / 200e3 < number.link_seconds * (1 + 1e-9) <= 2 * size * 8 / 200e3
        assert number.metrics["missed"] == 0
    plain = run(Scenario(**{**base, "uplink": None}))
    assert plain.rounds[0].link_seconds is None
    assert plain.mean_accuracy == found.mean_accuracy
    assert plain.payload_bytes_total == found.payload_bytes_total
