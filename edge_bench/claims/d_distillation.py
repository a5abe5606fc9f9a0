"""D1 to D6: distillation of the whole network over a graph, next to averaging weights."""

from itertools import pairwise
from typing import Any

from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting, SystemSpec, row
from edge_report.finding import mean, spread
from edge_sim.convergence import window

ROUNDS = 150
LOCAL = {"local_steps": 10, "learning_rate": 0.1}
PAPER = {"weighting": "none", "loss": "squared-error"}
OURS = {**LOCAL, **PAPER, "distillation_weight": 5.0, "reference_batch": 128}


def settings(data: ClaimData) -> dict[str, Setting]:
    """Emulate eight devices with 2/5 of the classes each, 300 reference samples, an MLP of 256 and 128 units."""
    base: dict[str, Any] = {
        **data.scenario,
        "devices": 8,
        "topology": "ring",
        "split": f"classes:{data.some(0.4)}",
        "model": "zoo:mlp:256-128",
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
        "protocol": "d-distillation",
    }

    def ours(plotted: bool = True, **changes: Any) -> Setting:
        extra = changes.pop("settings", {})
        return Setting({**base, "settings": {"d-distillation": {**OURS, **extra}}, **changes}, plotted=plotted)

    def other(name: str, **more: Any) -> Setting:
        return Setting({**base, "protocol": name, "settings": {name: {**LOCAL, **more}}})

    by_name = {
        "isolated": other("isolated"),
        "pooled": other("pooled"),
        "ring": ours(),
        "ring, float32": ours(coding={"soft_labels": "float32"}),
        "complete": ours(topology="complete"),
        "ring, mixed widths": ours(model=("zoo:mlp:256-128", "zoo:mlp:128-64", "zoo:mlp:384-192")),
        "ring, 100 of 300 rows": ours(settings={"subset": 100}),
        "ring, plain mixing": ours(settings={"mixing": "plain"}),
        "ring, push-sum": ours(settings={"mixing": "push-sum"}),
        "d-psgd": other("d-psgd"),
        "d-psgd, quasi-global momentum": other("d-psgd", momentum=0.9, learning_rate=0.02),
        "fedavg": other("fedavg"),
        "dynamic-averaging": other("dynamic-averaging", threshold=0.3),
        "converging": ours(
            plotted=False,
            rounds=300,
            convergence=10,
            settings={"distillation_weight": 1.0, "decay_after": 50.0, "reference_batch": 300},
        ),
        "frozen": ours(
            plotted=False,
            rounds=20,
            convergence=1,
            coding={"soft_labels": "float32"},
            model=("zoo:mlp:64", "zoo:mlp:32", "zoo:mlp:48-16"),
            settings={"learning_rate": 1e-30},
        ),
    }
    if data.users > 1:
        people: dict[str, Any] = {"devices": data.users, "split": "by:user"}
        by_name["one device a user"] = ours(**people)
        by_name["one device a user, isolated"] = Setting({**other("isolated").scenario, **people})
        by_name["one device a user, d-psgd"] = Setting({**other("d-psgd").scenario, **people})
    return by_name


def judge(outcomes: Outcomes) -> list[ClaimRow]:
    """Check D1 to D6."""
    ring, alone, weights = (outcomes.accuracy(n) for n in ("ring", "isolated", "d-psgd"))
    drift, shrink, norms, errors = [], [], [], []
    for result in outcomes.results("converging"):
        measured = [r.metrics for r in result.rounds if "gradient_norm" in r.metrics]
        drift.append(max(m["mean_drift"] for m in measured))
        norms.append(window([m["gradient_norm"] for m in measured], 5)[2])
        errors.append(window([m["consensus_error"] for m in measured], 5)[2])
    for result in outcomes.results("frozen"):
        away = [r.metrics["consensus_error"] for r in result.rounds]
        limit = 1 - result.spectral_gap
        shrink.append(max(b / a for a, b in pairwise(away) if a > 1e-6) / limit)
    mixed, complete = outcomes.accuracy("ring, mixed widths"), outcomes.accuracy("complete")
    ratio = outcomes.payload("d-psgd") / outcomes.payload("ring")
    plain_ratio = outcomes.payload("d-psgd") / outcomes.payload("ring, float32")
    rows = [
        row(
            "D1 (I1)",
            "the mean of the estimates is the mean of the outputs, in 8 bits too (1e-5)",
            "theorem",
            f"largest distance {max(drift):.1e}",
            max(drift) < 1e-5,
            drift=drift,
        ),
        row(
            "D1 (I2)",
            "with models frozen, disagreement shrinks by |lambda_2| a round at least (1 % slack)",
            "theorem",
            f"factor over |lambda_2| at most {max(shrink):.4f}",
            max(shrink) <= 1.01,
            factor_over_lambda_2=shrink,
        ),
        row(
            "D1 (I3)",
            "the gradient of the regularised loss falls to less than 0.4 of its first value (means of 5 windows)",
            "tends to 0, without a rate",
            f"last over first {spread(norms)}; consensus error {spread(errors)}",
            max(norms) < 0.4,
            gradient_ratio=norms,
            consensus_ratio=errors,
        ),
        row(
            "D2",
            "mean and worst device on all classes far above isolated (30 points)",
            "all devices learn all classes",
            f"{spread(ring)}, worst {spread(outcomes.worst('ring'))}; isolated {spread(alone)}",
            min(outcomes.worst("ring")) >= mean(alone) + 0.3,
            ring=ring,
            worst=outcomes.worst("ring"),
            isolated=alone,
        ),
        row(
            "D3",
            "within 3 points of D-PSGD on the same graph",
            "comparable, depending on the regime",
            f"{spread(ring)} against {spread(weights)}: {100 * (mean(ring) - mean(weights)):+.1f} points",
            mean(ring) >= mean(weights) - 0.03,
            ring=ring,
            d_psgd=weights,
        ),
        row(
            "D4",
            "mixed widths lose less than 2 points",
            "architectures may differ",
            f"{spread(mixed)} against {spread(ring)}",
            mean(mixed) > mean(ring) - 0.02,
            mixed=mixed,
            ring=ring,
        ),
        row(
            "D5",
            "at least 10 times fewer bytes than D-PSGD (P = 50,826 on digits, R K = 3,000)",
            "much less communication",
            f"{ratio:.1f} times in 8 bits, {plain_ratio:.1f} in float32",
            plain_ratio >= 10,
            ratio=ratio,
            ratio_float32=plain_ratio,
        ),
        row(
            "D6",
            "ring within 2 points of the complete graph",
            "regardless of local links",
            f"{spread(ring)} against {spread(complete)}",
            abs(mean(ring) - mean(complete)) <= 0.02,
            ring=ring,
            complete=complete,
        ),
    ]
    if "one device a user" in outcomes.by_setting:
        people, lonely = outcomes.accuracy("one device a user"), outcomes.accuracy("one device a user, isolated")
        rows.append(
            row(
                "D2 (users)",
                "devices with one user's data each (30, or as many as are not held out) are better than isolated",
                "-",
                f"{spread(people)} against {spread(lonely)}; d-psgd "
                f"{spread(outcomes.accuracy('one device a user, d-psgd'))}",
                mean(people) > mean(lonely),
                users=people,
                isolated=lonely,
            )
        )
    return rows


SPEC = SystemSpec(title="Bistritz et al. 2020, Distributed Distillation", settings=settings, judge=judge)
