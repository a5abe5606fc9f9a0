"""Quantised, as changes, and never silently wrong (Sattler et al. 2022)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.kinds import CODES
from edge.protocols import compressed_federated_distillation as cfd
from edge.quantiser import codes
from edge_sim import Scenario, run
from tests.fleets import fleet
from tests.payloads import ROUNDS, Case, H, K, M, R


def bounds(width: int) -> range:
    """More than the headers, and at most a byte a code and what DEFLATE adds to them."""
    return range(2 * M * H * ROUNDS + 1, ROUNDS * 2 * M * (H + R * width + 11) + 1)


PAYLOADS = [
    Case(bounds(1)),
    Case(bounds(K), {"up_bits": 2, "down_bits": 2}),
    Case(bounds(K), {"up_bits": 8, "down_bits": 8, "dual": False}),
    Case(bounds(K + 1), {"up_bits": 8, "down_bits": 8, "weighting": "entropy"}),
]

FORM = CODES.format(bytes(8), (6, 5))


@given(st.integers(1, 8), st.integers(0, 1000), st.integers(2, 12))
def test_changes_and_back(bits: int, seed: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    delta = cfd.CodeChannel(bits, FORM)
    before, after = (delta.quantise(random.dirichlet(np.ones(classes), 6)) for _ in range(2))
    sent = delta.change(after, before, classes)
    assert 0 <= sent.min() <= sent.max() <= 255
    np.testing.assert_array_equal(delta.apply(sent, before, classes), after)
    np.testing.assert_array_equal(delta.apply(delta.change(after, None, classes), None, classes), after)


@given(st.integers(1, 8), st.integers(0, 1000))
def test_the_quantiser(bits: int, seed: int) -> None:
    """Rows sum to 2^b - 1; the L1 error is at most C / (2^b - 1); the class stays; one bit is the class."""
    p = np.random.default_rng(seed).dirichlet(np.full(10, 0.3), 20)
    units = (1 << bits) - 1
    q = codes(p, units)
    assert (q.sum(axis=1) == units).all()
    assert (q.argmax(axis=1) == p.argmax(axis=1)).all()
    assert np.abs(q / units - p).sum(axis=1).max() <= 10 / units + 1e-9
    if bits == 1:
        np.testing.assert_array_equal(q, np.eye(10, dtype=int)[p.argmax(axis=1)])


def test_a_change_to_what_is_not_there_is_seen() -> None:
    delta = cfd.CodeChannel(4, FORM)
    random = np.random.default_rng(0)
    one, two, three = (delta.quantise(random.dirichlet(np.ones(5), 6)) for _ in range(3))
    sent = delta.change(two, one, 5).astype(np.float32)
    taken = cfd.take(delta, sent, one, 5)
    assert taken is not None
    np.testing.assert_array_equal(taken[0], two)
    assert cfd.take(delta, sent, three, 5) is None
    assert cfd.take(delta, sent, None, 5) is None
    assert cfd.take(delta, None, one, 5) is None
    assert cfd.take(delta, np.full((6, 5), 3e37, np.float32), one, 5) is None


def test_a_lost_message_is_forgotten_with_the_next_keyframe(tmp_path: Path) -> None:
    settings = {"up_bits": 8, "down_bits": 8, "keyframe_every": 4}
    changes: dict[str, Any] = {
        "devices": 3,
        "round_timeout": 1.0,
        "rounds": 9,
        "split": "classes:5",
        "settings": settings,
    }
    with fleet(tmp_path, "compressed-federated-distillation", **changes) as whole:
        device, refused = whole.members[0], []
        send = device.transport.send
        for number, _ in enumerate(whole.rounds(), start=1):
            lose = number == 2  # of the next round
            device.transport.send = (lambda *_: None) if lose else send  # type: ignore[method-assign]
            refused.append(whole.centre.row["rejected_invalid"])
            codes_here = device.protocol.state()["sent"]
            there = whole.centre.protocol.state()["received"][0]
            if number not in (3, 4):
                np.testing.assert_array_equal(codes_here, there)
        assert refused == [0, 0, 0, 1, 0, 0, 0, 0, 0]  # round 3 is missing, 4 changes what it said, 5 says all


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_what_does_not_change_costs_next_to_nothing(bits: int) -> None:
    """At most a byte a code, and the header; far less where codes seldom change."""
    settings = {"up_bits": bits, "down_bits": bits, "learning_rate": 1e-6, "server_rate": 1e-6}
    name, rounds = "compressed-federated-distillation", 6
    job = Scenario(devices=M, model="zoo:mlp:16", rounds=rounds, protocol=name, settings={name: settings})
    result = run(job)
    width = 1 if bits == 1 else K
    assert 2 * M * H * rounds < result.payload_bytes_total <= rounds * 2 * M * (H + 300 * width + 11)
    later = np.diff([r.payload_bytes_total for r in result.rounds])
    assert later.max() < 0.5 * result.rounds[0].payload_bytes_total  # nothing moves: the differences are all but empty
