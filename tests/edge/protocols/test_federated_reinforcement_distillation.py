"""Policies in proxy states up, the memory down (Cha et al. 2019)."""

from edge_sim.result import Result
from tests.payloads import ROUNDS, Case, H, M

SCENARIO = {"data": "cartpole", "model": "zoo:mlp:8"}
POLICY = 4 * 8 + 8 + 8 * 2 + 2
"""parameters of the policy"""


def payload(result: Result) -> int:
    """h + 12 n up, n the proxy states an agent visited; h + 12 n' down, n' those of the memory."""
    visited, memory = (sum(r.metrics[what] for r in result.rounds) for what in ("visited", "memory"))
    return 2 * ROUNDS * M * H + round(12 * M * (visited + memory))


PAYLOADS = [
    Case(payload),
    Case(2 * ROUNDS * M * (H + 4 * POLICY), {"share": "weights"}),
    Case(0, {"share": "nothing"}),
]
