"""R1 and R2: agents that share what they do in proxy states, on CartPole."""

from typing import Any

from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting, SystemSpec, row
from edge_report.finding import mean, spread
from edge_sim.result import Result

NAME = "federated-reinforcement-distillation"
AGENTS, ROUNDS = 5, 80
MISSION = 150.0
"""mean steps of an episode, over all agents and five rounds, at which the mission counts as completed"""


def settings(_data: ClaimData) -> dict[str, Setting]:
    """Emulate five agents, 80 rounds of two episodes of at most 200 steps, a policy of 24 and 24 units, Adam."""
    base: dict[str, Any] = {
        "data": "cartpole",
        "devices": AGENTS,
        "reference": "10",
        "model": "zoo:mlp:24-24",
        "optimizer": "adam",
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
        "protocol": NAME,
    }

    def agents(**more: Any) -> Setting:
        return Setting({**base, "settings": {NAME: more}})

    return {
        "alone": agents(share="nothing"),
        "frd": agents(),
        "mixfrd": agents(mixup=32),
        "frl": agents(share="weights"),
    }


def completed(result: Result) -> float:
    """Return the first round by which the mean of the last five is the mission's; one more than all if it never is."""
    steps = [r.metrics["return"] for r in result.rounds]
    reached = (n for n in range(5, len(steps) + 1) if mean(steps[n - 5 : n]) >= MISSION)
    return float(next(reached, len(steps) + 1))


def judge(outcomes: Outcomes) -> list[ClaimRow]:
    """Check R1 and R2."""
    alone, frd, mixfrd, frl = (outcomes.each(n, completed) for n in ("alone", "frd", "mixfrd", "frl"))
    ratio = outcomes.payload("frl") / outcomes.payload("frd")
    return [
        row(
            "R1",
            "at least 5 times fewer bytes than averaging the policy networks (FRL)",
            "less traffic",
            f"{ratio:.1f} times ({outcomes.payload('frd'):,.0f} bytes an agent); MixFRD "
            f"{outcomes.payload('frl') / outcomes.payload('mixfrd'):.1f}",
            ratio >= 5,
            ratio=ratio,
        ),
        row(
            "R2",
            f"the mission ({MISSION:.0f} steps an episode) is completed in fewer rounds than alone",
            "faster, with less variance",
            f"rounds: FRD {spread(frd, 1)}, MixFRD {spread(mixfrd, 1)}, alone {spread(alone, 1)}, FRL {spread(frl, 1)}",
            mean(frd) < mean(alone),
            frd=frd,
            mixfrd=mixfrd,
            alone=alone,
            frl=frl,
        ),
    ]


SPEC = SystemSpec(
    title="Cha et al. 2019 and 2020, Federated Reinforcement Distillation", settings=settings, judge=judge
)
