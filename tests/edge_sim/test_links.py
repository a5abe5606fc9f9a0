"""Links of the emulator: messages take their time, one after the other, get lost, come twice, wait for a partition."""

from typing import Any

import pytest

from edge_sim import links
from edge_sim.conditions import Link, Partition
from edge_sim.links import Links
from edge_sim.run import run
from edge_sim.scenario import Scenario

NAMES = ["a", "b", "c", "d"]


def linked(centre: str | None = None, **keys: Any) -> Links:
    return links.build(Scenario(devices=4, **keys), NAMES, centre)


def test_one_after_the_other_up_and_down() -> None:
    between = linked(uplink=8.0, downlink=16.0)  # a byte takes 1 ms up and 0.5 ms down
    assert between.up(0.0, "a", "b", 100) == [pytest.approx(0.1)]
    assert between.up(0.0, "a", "c", 100) == [pytest.approx(0.2)]  # waited for the first
    assert between.up(5.0, "a", "b", 100) == [pytest.approx(5.1)]
    assert between.down(0.1, "b", 100) == pytest.approx(0.15)
    assert between.down(0.1, "b", 100) == pytest.approx(0.2)
    assert between.down(0.1, "c", 100) == pytest.approx(0.15)


def test_a_centre_is_wide_and_a_table_counts_for_its_devices_alone() -> None:
    between = linked("server", uplink=8.0, links=(Link(of="1", uplink=80.0, latency=2.0),))
    assert between.up(0.0, "server", "a", 100) == [0.0]
    assert between.up(0.0, "a", "server", 100) == [pytest.approx(0.1)]
    assert between.up(0.0, "b", "a", 100) == [pytest.approx(2.01)]
    assert between.up(9.0, "a", "b", 100) == [pytest.approx(11.1)]  # of two latencies the longer
    assert between.shortest == 0.0


def test_one_direction_alone() -> None:
    between = linked(latency=1.0, links=(Link(of="0", to="1-2", latency=3.0), Link(of="0", to="2", latency=4.0)))
    times = {pair: between.up(0.0, *pair, 10)[0] for pair in (("a", "b"), ("b", "a"), ("a", "c"), ("a", "d"))}
    assert times == {("a", "b"): 3.0, ("b", "a"): 1.0, ("a", "c"): 4.0, ("a", "d"): 1.0}
    assert between.shortest == 1.0


def test_loss_duplication_and_jitter_are_of_the_seed_and_the_pair() -> None:
    keys: dict[str, Any] = {"packet_loss": 0.25, "duplication": 0.25, "jitter": 1.0}
    sent = [linked(**keys) for _ in range(2)]
    alone = [sent[0].up(0.0, "a", "b", 10) for _ in range(4000)]
    among = []
    for _ in range(4000):
        sent[1].up(0.0, "c", "b", 10)  # others do not change what becomes of mine
        among.append(sent[1].up(0.0, "a", "b", 10))
    assert alone == among
    copies = [len(arrivals) for arrivals in alone]
    assert sum(n == 2 for n in copies) / 4000 == pytest.approx(0.25 * 0.75**2, abs=0.02)
    assert sum(n == 0 for n in copies) / 4000 == pytest.approx(0.75 * 0.25 + 0.25**3, abs=0.02)
    times = [at for arrivals in alone for at in arrivals]
    assert 0 <= min(times) < 0.01 < 0.99 < max(times) <= 1
    assert linked(**keys, seed=1).up(0.0, "a", "b", 10) != alone[0] or len(alone[0]) != 1


def test_what_crosses_a_partition_waits_or_is_lost() -> None:
    cut = {"groups": ("0-1", "2"), "at": 10.0, "seconds": 5.0}
    waits, lost = (linked(partitions=(Partition(**cut, lost=lost),)) for lost in (False, True))
    assert waits.up(12.0, "a", "c", 1) == waits.up(12.0, "c", "b", 1) == [15.0]
    assert lost.up(12.0, "a", "c", 1) == []
    for pair in (("a", "b"), ("a", "d"), ("d", "c")):  # one side, or somebody who is on none
        assert lost.up(12.0, *pair, 1) == [12.0]
    assert lost.up(15.0, "a", "c", 1) == [15.0]
    assert lost.up(9.9, "a", "c", 1) == [9.9]


def test_a_round_takes_what_its_bytes_take() -> None:
    """D-PSGD on a ring: a neighbour's model is the first or the second on its uplink; nobody asks, nothing is lost."""
    base: dict[str, Any] = {"devices": 4, "model": "zoo:mlp:16", "rounds": 3, "protocol": "d-psgd", "uplink": 200.0}
    outcome = run(Scenario(**base))
    (size,) = {(d.wire_bytes_sent // d.messages_sent) for d in outcome.devices}
    for number in outcome.rounds:
        assert number.link_seconds is not None
        assert size * 8 / 200e3 < number.link_seconds * (1 + 1e-9) <= 2 * size * 8 / 200e3 * (1 + 1e-6)
        assert number.metrics["timeouts"] == 0
    plain = run(Scenario(**{**base, "uplink": None}))
    assert plain.rounds[0].link_seconds is None
    assert plain.mean_accuracy == outcome.mean_accuracy
    assert plain.payload_bytes_total == outcome.payload_bytes_total
