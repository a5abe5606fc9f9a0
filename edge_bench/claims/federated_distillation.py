"""F1 to F7: tables of mean outputs instead of weights, and what balancing adds."""

from dataclasses import replace
from typing import Any

import numpy as np

from edge.codec import HEADER
from edge.protocols.federated_distillation import leave_one_out
from edge_bench import ntk
from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting, SystemSpec, row
from edge_report.finding import mean, spread
from edge_sim.result import Result

DEVICES, SIZE, ROUNDS, STEPS = 10, 120, 16, 60
TARGET = 0.9


def settings(data: ClaimData) -> dict[str, Setting]:
    """Emulate ten devices of 120 samples, one only of three labels; 16 rounds of 60 steps, an MLP of 32 units."""
    base: dict[str, Any] = {
        **data.scenario,
        "devices": DEVICES,
        "split": f"lacking:{data.some(0.3)}:1:{SIZE}",
        "reference": "1",
        "model": "zoo:mlp:32",
        "rounds": ROUNDS,
        "evaluate_every": ROUNDS,
    }

    def run(name: str, **more: Any) -> Setting:
        local = {"local_steps": STEPS, "learning_rate": 0.1}
        return Setting({**base, "protocol": name, "settings": {name: {**local, **more}}})

    def narrow(name: str, **more: Any) -> Setting:
        """Make the uplink a tenth of the downlink, and evaluate every round."""
        setting = run(name, **more)
        return replace(
            setting,
            scenario={
                **setting.scenario,
                "uplink": 100.0,
                "downlink": 1000.0,
                "round_timeout": 3600.0,
                "evaluate_every": 1,
            },
        )

    return {
        "isolated": run("isolated"),
        "pooled": run("pooled"),
        "federated-distillation": run("federated-distillation"),
        "federated-distillation, gamma 0.1": run("federated-distillation", gamma=0.1),
        "faug": run("faug"),
        "faug, 5 seeds": run("faug", seeds=5),
        "mix2fld": run("mix2fld"),
        "fedavg": run("fedavg", weighted=False),
        "mix2fld, narrow uplink": narrow("mix2fld"),
        "fedavg, narrow uplink": narrow("fedavg", weighted=False),
    }


def judge(outcomes: Outcomes) -> list[ClaimRow]:
    """Check F1 to F7."""
    L = outcomes.data.classes
    alone, fd, faug, fl = (outcomes.accuracy(n) for n in ("isolated", "federated-distillation", "faug", "fedavg"))
    parameters = outcomes.results("fedavg")[0].parameters
    tables = 2 * (HEADER + 4 * L * L)
    exact = all(r.payload_bytes_total == ROUNDS * DEVICES * tables for r in outcomes.results("federated-distillation"))
    bits, weight_bits = (8 * (outcomes.payload(n) - 2 * ROUNDS * HEADER) for n in ("federated-distillation", "fedavg"))
    soon, late = (outcomes.each(f"{name}, narrow uplink", until) for name in ("mix2fld", "fedavg"))
    ends = [outcomes.accuracy(f"{name}, narrow uplink") for name in ("mix2fld", "fedavg")]
    apart = _identity()
    lazy = [ntk.measure(seed) for seed in range(3)]
    worst = max(max(x.teacher_error, x.fixed_point_error) for x in lazy)
    rates = [r for x in lazy for r in (x.mean_rate, x.difference_rate)]
    return [
        row(
            "F1",
            "payload is 2 (h + 4 L^2) a device and round, exactly",
            "2 L^2 scalars",
            f"{outcomes.payload('federated-distillation'):,.0f} bytes a device in {ROUNDS} rounds",
            exact,
            bytes=outcomes.payload("federated-distillation"),
        ),
        row(
            "F2",
            "each device's teacher is (sum - own) / (M - 1)",
            "by definition",
            f"largest difference {apart:.1e}",
            apart < 1e-12,
        ),
        row(
            "F3",
            "not worse than stand-alone under non-IID labels",
            ".684 to .752 (MNIST)",
            f"{spread(fd)} against {spread(alone)}; with gamma 0.1 "
            f"{spread(outcomes.accuracy('federated-distillation, gamma 0.1'))}",
            mean(fd) >= mean(alone),
            fd=fd,
            isolated=alone,
        ),
        row(
            "F4",
            "averaging weights is better still",
            ".808 to .906 (MNIST)",
            f"FL {spread(fl)}: {100 * (mean(fl) - mean(fd)):.1f} points above FD",
            mean(fl) > mean(fd),
            fl=fl,
            fd=fd,
        ),
        row(
            "F5",
            "FL sends P / L^2 times the bits",
            "11,997 (P = 1,199,648)",
            f"{weight_bits / bits:.1f} (P = {parameters:,}); {bits:,.0f} bits a device",
            abs(weight_bits / bits - parameters / L**2) < 1e-6,
            ratio=weight_bits / bits,
            bits=bits,
        ),
        row(
            "F6",
            "seed samples close part of the gap to FL",
            ".846 to .864 (MNIST, FAug)",
            f"faug {spread(faug)} with 1 seed, {spread(outcomes.accuracy('faug, 5 seeds'))} with 5; mix2fld "
            f"{spread(outcomes.accuracy('mix2fld'))}",
            mean(fd) < mean(faug),
            faug=faug,
            mix2fld=outcomes.accuracy("mix2fld"),
        ),
        row(
            "F6 (links)",
            f"with an uplink a tenth of the downlink, Mix2FLD reaches {TARGET:.0%} sooner than FL",
            "18.8 % sooner, up to 16.7 % more accurate",
            f"{spread(soon, 1)} s on the links against {spread(late, 1)} s; in the end {spread(ends[0])} against "
            f"{spread(ends[1])}",
            all(reached(r) for r in outcomes.results("mix2fld, narrow uplink")) and mean(soon) < mean(late),
            mix2fld=soon,
            fl=late,
        ),
        row(
            "F7",
            "a linear model reaches the closed fixed points (1e-6), and both rates are as predicted (1 %)",
            "neural tangent kernel",
            f"error {worst:.1e}, rates over predicted {min(rates):.4f} to {max(rates):.4f}",
            worst < 1e-6 and max(abs(r - 1) for r in rates) < 0.01,
            error=worst,
            rates=rates,
        ),
    ]


def reached(result: Result) -> bool:
    """Say whether the target was reached in any round."""
    return any((r.accuracy_all or 0.0) >= TARGET for r in result.rounds)


def until(result: Result) -> float:
    """Return the virtual seconds on the links until the target is reached; all of them if it never is."""
    seconds = 0.0
    for round_ in result.rounds:
        seconds += round_.link_seconds or 0.0
        if (round_.accuracy_all or 0.0) >= TARGET:
            break
    return seconds


def _identity() -> float:
    """Return the largest difference of the server's rows from the formula, on random tables."""
    tables = {str(i): t for i, t in enumerate(np.random.default_rng(0).dirichlet(np.ones(10), (7, 10)))}
    total = sum(tables.values())
    return max(float(np.abs(rows - (total - tables[j]) / 6).max()) for j, rows in leave_one_out(tables).items())


SPEC = SystemSpec(title="Jeong et al. 2018, Seo et al. 2020, Federated Distillation", settings=settings, judge=judge)
