"""What a protocol's own test file says about it: its payload by a closed form, and what it needs of a scenario.

`tests/edge/protocols/test_NAME.py` has

    PAYLOADS    a list of `Case`: settings, and the payload bytes that docs/protocols.md says they cost
    SCENARIO    what the protocol needs of a scenario beside its name; nothing, if absent

`tests/edge_sim/test_bytes.py` runs all cases, `tests/conformance` reads both.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from edge.codec import HEADER as H
from edge.protocols import PROTOCOLS
from edge_sim.result import Result

__all__ = ["DIRECTED", "ROUNDS", "Case", "H", "K", "M", "P", "R", "X", "cases", "samples", "scenario"]
M, R, K, X = 4, 30, 10, 64
"""devices, reference rows, classes, numbers in a sample"""
P = 64 * 16 + 16 + 16 * 10 + 10
"""parameters of zoo:mlp:16"""
ROUNDS, DIRECTED = 4, 8
"""rounds; directed edges of a ring of four"""
Bytes = int | range


@dataclass(frozen=True)
class Case:
    """Payload bytes of all nodes in all rounds: a number, or bounds; or how they follow from the result.

    changes: of the scenario, beside the protocol's settings.
    """

    payload: Bytes | Callable[[Result], Bytes]
    settings: dict[str, Any] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)

    def expected(self, result: Result) -> range:
        payload = self.payload(result) if callable(self.payload) else self.payload
        return payload if isinstance(payload, range) else range(payload, payload + 1)


def samples(result: Result) -> int:
    """Of all devices."""
    return sum(device.samples for device in result.devices)


def _said(protocol: str, name: str, default: Any) -> Any:
    return vars(import_module(f"tests.edge.protocols.test_{protocol.replace('-', '_')}")).get(name, default)


def cases() -> list[tuple[str, Case]]:
    """Every protocol with each of its cases; at least one."""
    listed = [(name, case) for name in PROTOCOLS.names() for case in _said(name, "PAYLOADS", [])]
    assert {name for name, _ in listed} == set(PROTOCOLS.names()), "tests/edge/protocols/test_NAME.py needs PAYLOADS"
    return listed


def scenario(protocol: str) -> dict[str, Any]:
    """What a protocol needs of a scenario beside its name."""
    needs: dict[str, Any] = _said(protocol, "SCENARIO", {})
    return needs
