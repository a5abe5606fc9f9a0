"""Payload bytes equal the closed forms of docs/protocols.md, over memory and over a real broker."""

from typing import Any

import numpy as np
import pytest

from edge import plugins
from edge.codec import HEADER
from edge_sim.result import Result
from edge_sim.run import run
from edge_sim.scenario import Scenario
from tests.conformance.test_transport import broker_or_skip
from tests.fleets import SUITED

M, R, K, X = 4, 30, 10, 64
P = 64 * 16 + 16 + 16 * 10 + 10
ROUNDS, DIRECTED = 4, 8  # of a ring of four


def play(protocol: str, transport: str, settings: dict[str, Any], **changes: Any) -> Result:
    base: dict[str, Any] = {"devices": M, "model": "zoo:mlp:16", "rounds": ROUNDS, "reference": str(R)}
    scenario = {**base, **SUITED.get(protocol, {}), "protocol": protocol, "settings": {protocol: settings}, **changes}
    return run(Scenario(**scenario, transport=transport))


def samples(found: Result) -> int:
    return sum(d.samples for d in found.devices)


def dynamic(found: Result) -> int:
    """m (h + 12) of status; 2 B (h + 4 P) + B (h + 4) for the balanced, h + 4 for whoever did not violate."""
    balanced, violators = (
        sum(round(r.metrics[f"coordinator/{what}"]) for r in found.rounds) for what in ("balanced", "violators")
    )
    assert balanced > 0
    quiet = ROUNDS * M - violators
    h = HEADER
    return ROUNDS * M * (h + 12) + balanced * (2 * (h + 4 * P) + h + 4) + quiet * (h + 4)


def proxies(found: Result) -> int:
    """h + 12 n up, n the proxy states an agent visited; h + 12 n' down, n' those of the memory."""
    visited, memory = (sum(r.metrics[what] for r in found.rounds) for what in ("visited", "memory"))
    return 2 * ROUNDS * M * HEADER + round(12 * M * (visited + memory))


H, POLICY = HEADER, 4 * 8 + 8 + 8 * 2 + 2
CASES: list[tuple[str, dict[str, Any], dict[str, Any], Any]] = [
    ("isolated", {}, {}, 0),
    ("pooled", {}, {}, lambda r: 2 * M * H + samples(r) * (4 * X + 1)),
    ("d-distillation", {}, {}, ROUNDS * DIRECTED * (H + R * K)),
    ("d-distillation", {"subset": 12}, {}, ROUNDS * DIRECTED * (H + 12 * K)),
    ("d-distillation", {"mixing": "plain"}, {}, ROUNDS * DIRECTED * (H + R * K)),
    ("d-distillation", {"mixing": "push-sum"}, {}, ROUNDS * DIRECTED * (H + 4 * (R + 1) * K)),
    ("multi-headed-distillation", {"heads": 2}, {}, ROUNDS * DIRECTED * (H + 2 * R * K)),
    ("multi-headed-distillation", {"heads": 2, "refresh_every": 2}, {}, ROUNDS // 2 * DIRECTED * (H + 2 * R * K)),
    (
        "multi-headed-distillation",
        {"heads": 1, "embedding_weight": 0.5},
        {},
        ROUNDS * DIRECTED * (H + R * K + H + 4 * R * 16),
    ),
    ("d-psgd", {}, {}, ROUNDS * DIRECTED * (H + 4 * P)),
    ("d-psgd", {"momentum": 0.9}, {"coding": {"weights": "float16"}}, ROUNDS * DIRECTED * (H + 2 * P)),
    ("periodic-averaging", {"sync_interval": 2}, {}, ROUNDS // 2 * 2 * M * (H + 4 * P)),
    ("fedavg", {"fraction": 0.5, "weighted": False}, {}, ROUNDS * (2 + M) * (H + 4 * P)),
    ("fedavg", {}, {}, ROUNDS * (2 * M * (H + 4 * P) + M * (H + 4))),
    ("dynamic-averaging", {"threshold": 0.02}, {"split": "classes:4"}, dynamic),
    ("federated-distillation", {}, {}, ROUNDS * 2 * M * (H + 4 * K * K)),
    ("faug", {"seeds": 2}, {}, lambda _: ROUNDS * 2 * M * (H + 4 * K * K) + M * (2 * H + 4 * 2 * K * (X + 1) * M)),
    (
        "mix2fld",
        {"seeds": 7},
        {},
        ROUNDS * M * (H + 4 * K * K + H + 4 * P) + M * (H + 4 * 7 * (X + 2)),
    ),
    ("federated-reinforcement-distillation", {}, {}, proxies),
    ("federated-reinforcement-distillation", {"share": "weights"}, {}, 2 * ROUNDS * M * (H + 4 * POLICY)),
    ("fedgkt", {}, {}, lambda r: ROUNDS * (4 * M * H + samples(r) * (4 * 16 + 4 * K + 1 + 4 * K))),
]


@pytest.mark.parametrize("transport", ["memory", "mqtt"])
@pytest.mark.parametrize(
    ("protocol", "settings", "changes", "expected"),
    CASES,
    ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values())) if isinstance(v, dict) else "",
)
def test_payload_is_the_closed_form(
    protocol: str, settings: dict[str, Any], changes: dict[str, Any], expected: Any, transport: str
) -> None:
    if transport == "mqtt":
        broker_or_skip("mosquitto")
    found = play(protocol, transport, settings, **changes)
    assert found.payload_bytes_total == (expected(found) if callable(expected) else expected)
    nodes = [*found.devices, *([found.centre] if found.centre else [])]
    assert sum(n.payload_bytes_received for n in nodes) == found.payload_bytes_total
    assert sum(found.counts.values()) == 0


def test_every_protocol_has_a_closed_form() -> None:
    """But for the one whose messages are entropy-coded."""
    assert {case[0] for case in CASES} == set(plugins.names("edge.protocols")) - {"compressed-federated-distillation"}


@pytest.mark.parametrize("bits", [1, 2, 8])
def test_compressed_is_bounded_by_its_codes(bits: int) -> None:
    """At most a byte a code, and the header; far less where codes seldom change."""
    settings = {"up_bits": bits, "down_bits": bits, "learning_rate": 1e-6, "server_rate": 1e-6}
    found = play("compressed-federated-distillation", "memory", settings, reference="300", rounds=6)
    width = 1 if bits == 1 else K
    assert 2 * M * HEADER * 6 < found.payload_bytes_total <= 6 * 2 * M * (HEADER + 300 * width + 11)
    later = np.diff([r.payload_bytes_total for r in found.rounds])
    assert later.max() < 0.5 * found.rounds[0].payload_bytes_total  # nothing moves: the differences are all but empty
