"""M1 to M6: heads that learn from heads, and a main head that need not."""

from itertools import pairwise
from typing import Any

from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting, SystemSpec, row
from edge_report.finding import mean, spread

NAME = "multi-headed-distillation"
ROUNDS, STEPS = 30, 100


def settings(data: ClaimData) -> dict[str, Setting]:
    """Emulate eight devices with 3/10 of the labels primary (skew 100), 300 reference samples, a trunk of 64 units."""
    base: dict[str, Any] = {
        **data.scenario,
        "devices": 8,
        "topology": "complete",
        "split": f"primary:{data.some(0.3)}:100",
        "model": "zoo:mlp:64",
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
        "protocol": NAME,
    }
    local = {"local_steps": STEPS, "learning_rate": 0.1}
    mixed = ("zoo:mlp:64", "zoo:mlp:32", "zoo:mlp:96-48")

    def ours(heads: int, **changes: Any) -> Setting:
        extra = changes.pop("settings", {})
        return Setting({**base, "settings": {NAME: {**local, "heads": heads, **extra}}, **changes})

    def alone(**changes: Any) -> Setting:
        return Setting({**base, "protocol": "isolated", "settings": {"isolated": local}, **changes})

    return {
        "isolated": alone(),
        "complete, 1 head": ours(1),
        "complete, 2 heads": ours(2),
        "complete, 3 heads": ours(3),
        "complete, 3 heads, no gating": ours(3, settings={"confidence": False, "own_target": False}),
        "complete, 3 heads, embeddings": ours(3, settings={"embedding_weight": 1.0}),
        "ring, 1 head": ours(1, topology="ring"),
        "ring, 3 heads": ours(3, topology="ring"),
        "ring, 6 heads": ours(6, topology="ring"),
        "islands of 2, 3 heads": ours(3, topology="islands:2"),
        "mixed models, 3 heads": ours(3, model=mixed),
        "mixed models, isolated": alone(model=mixed),
        "no skew, 3 heads": ours(3, split=f"primary:{data.some(0.3)}:0"),
        "no skew, isolated": alone(split=f"primary:{data.some(0.3)}:0"),
    }


def judge(outcomes: Outcomes) -> list[ClaimRow]:
    """Check M1 to M6."""
    full = "complete, 3 heads"
    alone_private, alone_shared = outcomes.own("isolated"), outcomes.accuracy("isolated")
    private, shared = ([outcomes.head(full, k, which) for k in range(4)] for which in (1, 0))
    ungated = [outcomes.head("complete, 3 heads, no gating", k, 1) for k in range(4)]
    ring = [outcomes.accuracy(f"ring, {n}") for n in ("1 head", "3 heads", "6 heads")]
    islands = [outcomes.head("islands of 2, 3 heads", k, 0) for k in range(4)]
    mixed, mixed_alone = outcomes.accuracy("mixed models, 3 heads"), outcomes.accuracy("mixed models, isolated")
    lost = mean([mean(private[k]) - mean(ungated[k]) for k in range(1, 4)])
    return [
        row(
            "M1",
            "private accuracy of the main head at most 1 point below isolated",
            "kept",
            f"{spread(private[0])} against {spread(alone_private)}",
            mean(private[0]) >= mean(alone_private) - 0.01,
            main_head=private[0],
            isolated=alone_private,
        ),
        row(
            "M2",
            "shared accuracy of the last head far above isolated under skew (20 points)",
            "large gain",
            f"{spread(shared[-1])} against {spread(alone_shared)}",
            mean(shared[-1]) >= mean(alone_shared) + 0.2,
            last_head=shared[-1],
            isolated=alone_shared,
        ),
        row(
            "M3",
            "shared accuracy rises with the head",
            "yes",
            "heads 0 to 3: " + " ".join(f"{mean(h):.3f}" for h in shared),
            all(mean(a) < mean(b) for a, b in pairwise(shared)),
            **{f"head_{k}": h for k, h in enumerate(shared)},
        ),
        row(
            "M4 (cycle)",
            "on a ring, more heads reach further",
            "up to the diameter",
            "1, 3, 6 heads: " + " ".join(f"{mean(h):.3f}" for h in ring),
            mean(ring[0]) < mean(ring[1]) < mean(ring[2]),
            one=ring[0],
            three=ring[1],
            six=ring[2],
        ),
        row(
            "M4 (islands)",
            "nothing from beyond the island: head 3 gains less than 3 points over head 1",
            "no gain",
            "heads 0 to 3: " + " ".join(f"{mean(h):.3f}" for h in islands),
            mean(islands[3]) < mean(islands[1]) + 0.03,
            **{f"head_{k}": h for k, h in enumerate(islands)},
        ),
        row(
            "M5",
            "without gating the auxiliary heads lose private accuracy (5 points)",
            "drops",
            f"{100 * lost:.1f} points lost on heads 1 to 3",
            lost >= 0.05,
            gated=[mean(h) for h in private],
            ungated=[mean(h) for h in ungated],
        ),
        row(
            "M6",
            "mixed architectures still gain (20 points of shared accuracy)",
            "yes",
            f"{spread(mixed)} against {spread(mixed_alone)}",
            mean(mixed) >= mean(mixed_alone) + 0.2,
            mixed=mixed,
            isolated=mixed_alone,
        ),
    ]


SPEC = SystemSpec(title="Zhmoginov et al. 2023, Multi-Headed Distillation", settings=settings, judge=judge)
