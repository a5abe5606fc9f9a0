"""A record of ratios over time, and a check that none has become worse than its noise explains.

    python -m benchmarks.record              measure, and append a line to benchmarks/history.jsonl
    python -m benchmarks.record --check      measure, and compare with what is there; exit code 1 if a ratio worsened

Ratios only, never times: a step of the exported graph over PyTorch's, in turns in one process, and a coded message's
bytes over float32's. Smaller is better. A ratio has worsened if it is above the median of the record by more than its
band: the widest of BAND, how far the record has strayed from its median, and the interval of what was measured now.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_bench.intervals import ratio, ratio_interval
from edge_bench.measurements import step, wire
from edge_bench.record import coding_today
from edge_report.finding import environment

HISTORY = Path(__file__).with_name("history.jsonl")
STEPS = (("mlp:200", 8), ("mlp:200", 32), ("small-cnn", 8), ("small-cnn", 32), ("resnet8", 8), ("tcn", 8))
BAND, OURS = 0.05, "onnx-runtime"
Ratio = tuple[float, float, float]
"""median, and the interval it lies in"""


def measured(seconds: float) -> dict[str, Ratio]:
    """Measure all ratios."""
    ratios: dict[str, Ratio] = {}
    for spec, batch in STEPS:
        lines = step.measure([spec], [batch], seconds=seconds, names=(OURS, step.TORCH)).lines
        ours, theirs = (line.step_seconds for line in lines)
        ratios[f"step/{spec}/batch {batch}"] = ratio(ours, theirs), *ratio_interval(ours, theirs)
    for line in wire.measure(10, rows=1000, first=20, rounds=5).lines:
        ratios[f"bytes/{line.coding}"] = (1 / line.smaller,) * 3
    return ratios


def worsened(now: Mapping[str, Ratio], history: Sequence[Mapping[str, Ratio]]) -> dict[str, str]:
    """Describe the ratios that are above the record by more than their band, by name.

    Args:
        now: what was measured.
        history: the record, oldest first.

    >>> worsened({"step": (0.6, 0.59, 0.61)}, [{"step": (0.5, 0.49, 0.51)}])
    {'step': '0.500 -> 0.600 (0.590 to 0.610), its band is 5%'}
    """
    problems = {}
    for name, (middle, low, high) in now.items():
        before = [record[name][0] for record in history if name in record]
        if not before:
            continue
        usual = statistics.median(before)
        strayed = max(abs(r / usual - 1) for r in before)
        band = max(BAND, strayed, (high - low) / (2 * middle))
        if middle > usual * (1 + band):
            problems[name] = f"{usual:.3f} -> {middle:.3f} ({low:.3f} to {high:.3f}), its band is {band:.0%}"
    return problems


def read(path: Path) -> list[dict[str, Any]]:
    """Read the record, oldest first, with the names that codings have today; none if there is no file."""
    records = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    for record in records:
        record["ratios"] = {_today(name): ratio for name, ratio in record["ratios"].items()}
    return records


def _today(name: str) -> str:
    kind, _, rest = name.partition("/")
    return f"{kind}/{coding_today(rest)}" if kind == "bytes" else name


def main() -> int:
    """Record, or check."""
    parser = argparse.ArgumentParser(description="Ratios over time: append to the record, or check against it.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--seconds", type=float, default=6.0, help="per step that is compared")
    parser.add_argument("--history", type=Path, default=HISTORY)
    args = parser.parse_args()
    records = read(args.history)
    now = measured(args.seconds)
    for name, (middle, low, high) in now.items():
        print(f"{name:<28} {middle:.3f}" + (f"  ({low:.3f} to {high:.3f})" if low < high else ""))
    if not args.check:
        line = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "environment": environment().model_dump(), "ratios": now}
        with args.history.open("a") as file:
            file.write(json.dumps(line) + "\n")
        print(f"{args.history}: record {len(records) + 1}")
        return 0
    worse = worsened(now, [record["ratios"] for record in records])
    for name, description in worse.items():
        print(f"WORSE  {name}: {description}")
    print(f"{len(worse)} of {len(now)} ratios worsened, against {len(records)} records")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
