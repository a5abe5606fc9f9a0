"""Payload bytes equal the closed forms of docs/protocols.md, over memory and over a real broker."""

from typing import Any

import pytest

from edge_sim.result import Result
from edge_sim.run import run
from edge_sim.scenario import Scenario
from tests.conformance.test_transport import broker_or_skip
from tests.payloads import ROUNDS, Case, M, R, cases, scenario


def play(protocol: str, transport: str, settings: dict[str, Any], **changes: Any) -> Result:
    base: dict[str, Any] = {"devices": M, "model": "zoo:mlp:16", "rounds": ROUNDS, "reference": str(R)}
    base |= {"coding": {"soft_labels": "simplex:8"}}  # a byte an entry; the default's size depends on the values
    job = {**base, **scenario(protocol), "protocol": protocol, "settings": {protocol: settings}, **changes}
    return run(Scenario(**job, transport=transport))


@pytest.mark.parametrize("transport", ["memory", "mqtt"])
@pytest.mark.parametrize(
    ("protocol", "case"),
    cases(),
    ids=lambda v: v if isinstance(v, str) else "-".join(f"{k}={w}" for k, w in {**v.settings, **v.changes}.items()),
)
def test_payload_is_the_closed_form(protocol: str, case: Case, transport: str) -> None:
    if transport == "mqtt":
        broker_or_skip("mosquitto")
    result = play(protocol, transport, case.settings, **case.changes)
    assert result.payload_bytes_total in case.expected(result)
    nodes = [*result.devices, *([result.centre] if result.centre else [])]
    assert sum(node.payload_bytes_received for node in nodes) == result.payload_bytes_total
    assert sum(result.counts.values()) == 0
