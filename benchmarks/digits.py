"""The demonstration's claim, over seeds: what D-Distillation reaches, and what it costs, next to D-PSGD.

    python -m benchmarks.digits [--seeds 0,1,2] [--json]

Eight devices on a ring, four digits each, 300 reference samples, MLP 64-256-128-10 (50,826 parameters),
the paper's update with settings chosen on this data, 200 rounds of 10 local steps, memory transport, one thread.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

from edge_sim.run import run
from edge_sim.scenario import Scenario
from edge_sim.scenario_files import read

SCENARIO = Path(__file__).parent.parent / "scenarios" / "demo.toml"
PAPER = {"weighting": "none", "loss": "squared-error", "distillation_weight": 10.0, "reference_batch": 128}
TUNED = {"rounds": 200, "standardize": "never", "settings": {"d-distillation": PAPER}}
RUNS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("isolated", "isolated", {}),
    ("d-distillation, 8 bit", "d-distillation", {"coding": {"soft_labels": "simplex:8"}}),
    ("d-distillation, float32", "d-distillation", {"coding": {"soft_labels": "float32"}}),
    ("d-distillation, changes", "d-distillation", {"coding": {"soft_labels": "delta:3"}}),
    ("d-psgd, 8-bit changes", "d-psgd", {"coding": {"weights": "int8-delta"}}),
    ("d-psgd, float32", "d-psgd", {}),
)


def main() -> int:
    """Print a line per protocol (or JSON): accuracies by seed, bytes, and ratios to D-PSGD."""
    parser = argparse.ArgumentParser(description="D-Distillation against D-PSGD on digits, over seeds.")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    base = read(SCENARIO, {"transport": "memory", "compare": [], **TUNED})
    rows: list[dict[str, Any]] = []
    for title, protocol, changes in RUNS:
        results = []
        for seed in map(int, args.seeds.split(",")):
            settings: dict[str, Any] = {"protocol": protocol, "seed": seed, "evaluate_every": base.rounds, **changes}
            results.append(run(Scenario.model_validate({**base.model_dump(), **settings})))
        rows.append(
            {
                "run": title,
                "mean_accuracy": [round(r.mean_accuracy, 4) for r in results],
                "worst_device": [round(r.worst_accuracy, 4) for r in results],
                "payload_bytes": results[0].payload_bytes_total,
            }
        )
    costly = rows[-1]
    for row in rows:
        row["bytes_of_d_psgd_over_these"] = (
            costly["payload_bytes"] / row["payload_bytes"] if row["payload_bytes"] else None
        )
        row["points_to_d_psgd"] = 100 * (
            statistics.mean(row["mean_accuracy"]) - statistics.mean(costly["mean_accuracy"])
        )
        if not args.json:
            ratio = row["bytes_of_d_psgd_over_these"]
            print(
                f"{row['run']:>24}: mean {row['mean_accuracy']}  worst device {row['worst_device']}  "
                f"{row['payload_bytes'] / 1e6:8.1f} MB  {f'1/{ratio:.1f} of d-psgd' if ratio else ''}  "
                f"{row['points_to_d_psgd']:+.1f} points"
            )
    if args.json:
        json.dump({"seeds": args.seeds, "rows": rows}, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
