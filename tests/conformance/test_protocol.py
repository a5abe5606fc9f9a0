"""What every protocol promises (edge.interfaces.Protocol), on every file of edge/protocols."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.codec import encode
from edge.interfaces import Array, Delivery, Message
from edge.protocols import PROTOCOLS as SPECS
from tests.fleets import Fleet, fleet

PROTOCOLS = SPECS.names()


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def states(whole: Fleet) -> list[dict[str, Array]]:
    return [{**d.engine.state(), **d.protocol.state()} for d in whole.devices]


def equal(a: list[dict[str, Array]], b: list[dict[str, Array]]) -> bool:
    return all(x.keys() == y.keys() and all(np.array_equal(x[k], y[k]) for k in x) for x, y in zip(a, b, strict=True))


def played(folder: Path, protocol: str, **changes: Any) -> list[dict[str, Array]]:
    with fleet(folder, protocol, **changes) as whole:
        for _ in whole.rounds():
            pass
        return states(whole)


def test_the_same_seed_gives_the_same_bits(protocol: str, tmp_path: Path) -> None:
    assert equal(played(tmp_path, protocol), played(tmp_path, protocol))
    assert not equal(played(tmp_path, protocol), played(tmp_path, protocol, seed=1))


def test_the_order_of_arrival_does_not_matter(protocol: str, tmp_path: Path) -> None:
    with fleet(tmp_path, protocol, topology="complete") as whole:
        for device in whole.devices:
            receive = device.transport.receive
            device.transport.receive = lambda receive=receive: receive()[::-1]  # type: ignore[misc, method-assign]
        for _ in whole.rounds():
            pass
        backwards = states(whole)
    assert equal(backwards, played(tmp_path, protocol, topology="complete"))


def test_a_duplicate_changes_nothing(protocol: str, tmp_path: Path) -> None:
    with fleet(tmp_path, protocol) as whole:
        for device in whole.devices:
            send = device.transport.send

            def twice(*message: Any, send: Any = send) -> None:
                send(*message)
                send(*message)

            device.transport.send = twice  # type: ignore[method-assign, assignment]
        for _ in whole.rounds():
            pass
        doubled = states(whole)
    assert equal(doubled, played(tmp_path, protocol))


ALONE = set(PROTOCOLS) - {"fedgkt", "pooled", "federated-reinforcement-distillation"}
"""Those whose devices train the whole model themselves."""


CUT_OFF = {"partitions": [{"groups": ["1", "0"], "at": 0.0, "seconds": 1e9, "lost": True}]}
"""Nothing passes between device 0 and anybody else, nor the centre."""


def test_nobody_answers(protocol: str, tmp_path: Path) -> None:
    """A device that hears nobody goes on, and ends as if it had been alone from the start."""
    with fleet(tmp_path, protocol, devices=2, round_timeout=1.0, optimizer="sgd", **CUT_OFF) as whole:
        lonely = whole.devices[0]
        rows = whole.rows(0)
        silent = 0.0 if protocol in ("isolated", "pooled") else 1.0
        assert [row["timeouts"] for row in rows][1:] == [silent] * 4
        assert all(np.isfinite(v).all() for v in lonely.engine.state().values())
        if protocol in ALONE:
            with fleet(tmp_path / "alone", "isolated", devices=2, round_timeout=1.0, optimizer="sgd") as other:
                other.rows(0)
                expected, state = other.devices[0].engine.state(), lonely.engine.state()
                for name, value in expected.items():  # a step with a term of weight 0 may round otherwise
                    np.testing.assert_allclose(state[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("name", [p for p in PROTOCOLS if p != "isolated"])
def test_joining_late_and_leaving_are_survived(name: str, tmp_path: Path) -> None:
    """One device comes after five rounds, another goes; the rest reach their last round, and so does the late one."""
    timeout, latency = 8.0, 0.1
    has_centre = SPECS.load(name).centre is not None
    joins = 4.5 * (timeout / 4 if has_centre else timeout)  # so long a round takes, while one is missing
    away = [{"of": "1", "at": 0.0, "seconds": joins}, {"of": "2", "at": joins + 10 * latency}]
    options: dict[str, Any] = {"devices": 5, "topology": "complete", "rounds": 14, "latency": latency}
    with fleet(tmp_path, name, **options, round_timeout=timeout, absences=away) as whole:
        late, leaving = whole.members[1], whole.members[2]
        for _ in whole.rounds():
            pass
        for device in whole.devices:
            if device is not leaving:
                assert device.row["round"] >= 12, device.id
            assert all(np.isfinite(v).all() for v in device.engine.state().values())
        assert late.row["timeouts"] <= 1 or name == "pooled"


MIXED = [p for p in PROTOCOLS if not SPECS.load(p).same_model]


@pytest.mark.parametrize("name", [p for p in MIXED if p not in ("fedgkt", "pooled")])
def test_two_architectures_in_one_run(name: str, tmp_path: Path) -> None:
    with fleet(tmp_path, name, model=("zoo:mlp:16", "zoo:mlp:12-8"), topology="complete") as whole:
        for _ in whole.rounds():
            pass
        assert {len(d.engine.parameters()) for d in whole.members} != {4}
        for device in whole.devices:
            assert device.row.get("timeouts", 0) == 0
            assert sum(device.inbox.counts.values()) == 0


def test_saved_and_put_back_it_continues_bit_for_bit(protocol: str, tmp_path: Path) -> None:
    """Three rounds, then the state into fresh devices for three more, against six in one go."""
    whole_run = played(tmp_path, protocol, rounds=6)
    with fleet(tmp_path, protocol, rounds=3) as first:
        for _ in first.rounds():
            pass
        saved = [(d.engine.state(), d.protocol.state()) for d in first.devices]
    with fleet(tmp_path, protocol, rounds=6) as second:
        for device, (engine, own) in zip(second.devices, saved, strict=True):
            device.engine.load_state(engine)
            device.protocol.load_state(own)
            _skip_to(device, 4, second)
        for _ in second.rounds():
            pass
        assert equal(states(second), whole_run)


def _skip_to(device: Any, first: int, whole: Fleet) -> None:
    from edge import node

    scenario = whole.scenario
    device.steps = node.rounds(
        device.protocol,
        device.engine,
        device.mailbox,
        first=first,
        last=scenario.rounds,
        round_timeout=scenario.round_timeout,
        aggregate=device.node.aggregate,
    )


def test_a_hostile_neighbour_stops_nobody(protocol: str, tmp_path: Path) -> None:
    """Well-formed nonsense: enormous values, and rows that sum to nothing."""
    with fleet(tmp_path, protocol, devices=3, topology="complete") as whole:
        enemy = whole.devices[0]
        send = enemy.transport.send

        def lie(receiver: str, kind: str, payload: bytes) -> None:
            from edge.codec import RETRANSMIT, decode, join

            if kind == RETRANSMIT:
                send(receiver, kind, payload)
                return
            chunk = decode(payload)
            honest = join([chunk])
            nonsense = np.full_like(honest.values, 3e37)
            for forged in encode(replace(honest, values=nonsense), "float32", run=chunk.run):
                send(receiver, kind, forged)

        enemy.transport.send = lie  # type: ignore[method-assign]
        refused = Counter[int]()
        for index, row in whole.finished():
            if index > 0:
                refused[int(row["round"])] += int(row.get("rejected_invalid", 0.0))
        for device in whole.devices[1:]:
            assert all(np.isfinite(v).all() for v in device.engine.state().values())
        if protocol not in ("isolated", "pooled"):  # where something is said every round
            assert refused.total() >= 1
            if enemy.row["timeouts"] == 0:  # who is not answered falls behind
                assert refused[5] >= 1


def test_garbage_is_counted_and_stops_nobody(protocol: str, tmp_path: Path) -> None:
    with fleet(tmp_path, protocol) as whole:
        for number, _ in enumerate(whole.rounds()):
            victim = whole.devices[1]
            stray = Message("soft-labels", 1, b"elsewher", np.ones((2, 2), np.float32))
            of_this_run = encode(stray, "float32", run=victim.inbox.identity.run)[0]
            for content in (of_this_run, b"", b"Mu", bytes(500)):
                victim.transport.queue.put(Delivery("device-0", "soft-labels", content))  # type: ignore[attr-defined]
                victim.transport.queue.put(Delivery("device-0", "again", content))  # type: ignore[attr-defined]
            assert number < 5
        if protocol not in ("isolated", "pooled"):
            assert whole.devices[1].inbox.counts["malformed"] > 0
            assert whole.devices[1].inbox.counts["foreign"] > 0
    assert equal(states(whole), played(tmp_path, protocol))
