"""`edge-bench battery`."""

import argparse
from functools import partial
from pathlib import Path

from edge.errors import ConfigError
from edge.flags import setting
from edge_bench.measurements import battery
from edge_bench.measurements.battery import SHARES, Battery, BatteryPlan, BatteryRow
from edge_report import figures
from edge_report.document import Cell, Section, fixed, times
from edge_report.finding import Progress, cores
from edge_report.flags import DEFAULT, add_count, add_integers, words
from edge_report.specs import CommandSpec

REQUIRED = ("default", "d-psgd", "fedavg")
SPLITS = "classes:40%,dirichlet:0.1,dirichlet:0.5,by,iid"


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    add = parser.add_argument
    add("--sets", metavar="NAME|npz:PATH,...", help="data sets (default: all of edge_bench/collection that are here)")
    add("--data-dir", type=Path, metavar="FOLDER", help="files of further data sets (docs/bench.md)")
    add("--splits", default=SPLITS, metavar="SPLIT,...", help="of the data; 'by' for every column" + DEFAULT)
    add("--topologies", default="ring,random-regular:3,complete", metavar="NAME,...", help="graphs" + DEFAULT)
    add("--columns", default=",".join(SHARES), metavar="NAME,...", help="what is compared" + DEFAULT)
    add_integers(parser, "--seeds", "0,1,2", "one run for each", least=0, metavar="0,1,2")
    add_count(parser, "--devices", 8, "devices of the fleet")
    add_count(parser, "--rounds", 30, "rounds of training", "R")
    add("--model", default="zoo:mlp:256-128", metavar="zoo:NAME|FILE.onnx", help="model to train" + DEFAULT)
    other = "a setting of the default and of multi-headed other than its default (repeatable)"
    add("--set", action="append", default=[], type=setting, metavar="KEY=VALUE", help=other)
    add("--out", type=Path, default=Path("battery"), metavar="FOLDER", help="data and runs; to go on, again" + DEFAULT)
    add_count(parser, "--jobs", cores(), "processes")


def run(args: argparse.Namespace, progress: Progress) -> Battery:
    """See `CommandSpec.run`."""
    columns = tuple(words(args.columns))
    if unknown := [column for column in columns if column not in SHARES]:
        raise ConfigError(f"--columns {unknown[0]}: there are {', '.join(SHARES)}")
    if missing := [column for column in REQUIRED if column not in columns]:
        raise ConfigError(f"--columns: {missing[0]} is needed, as gaps and bytes are counted from it")
    settings = dict(args.set)
    if others := settings.keys() - battery.settable():
        raise ConfigError(f"--set {min(others)}: no such setting of our protocols")
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise ConfigError(f"--out {args.out}: {reason.strerror}") from None
    plan = BatteryPlan(
        sources=battery.prepared(words(args.sets), args.out, args.data_dir),
        splits=tuple(words(args.splits)),
        topologies=tuple(words(args.topologies)),
        columns=columns,
        seeds=tuple(args.seeds),
        devices=args.devices,
        rounds=args.rounds,
        model=args.model,
        settings=settings,
    )
    return battery.run(plan, args.out, args.jobs, progress)


def sections(result: Battery) -> list[Section]:
    """Show the summary, and the rows, those with the largest gap first."""
    gaps = {_title(row): {"points": 100 * row.gap} for row in result.rows}
    return [_summary(result), _rows(result), Section("gaps", "Gaps", picture=partial(figures.bars, gaps, "points"))]


def _summary(result: Battery) -> Section:
    s = result.summary
    low, high = s.gap_interval
    rows: list[tuple[Cell, ...]] = [
        ("rows (data set, split, graph)", str(s.rows)),
        ("median gap, points", f"{100 * s.median_gap:.1f} ({100 * low:.1f} to {100 * high:.1f})"),
        ("worst gap, points", f"{100 * s.worst_gap:.1f}"),
        *((f"rows within {points} points", f"{share:.0%}") for points, share in s.within.items()),
        ("rows below isolated", str(s.below_isolated)),
        ("above the paper's update, median of the skewed rows, points", f"{100 * s.over_paper:.1f}"),
        ("D-PSGD's bytes over the default's, at least", f"{s.least_reach:.0f}"),
    ]
    return Section(
        "summary",
        "Default settings against tuned averaging of weights",
        lead=f"{result.model}, {result.rounds} rounds, seeds {', '.join(map(str, result.seeds))}. The gap is from the "
        "default to the better of D-PSGD and FedAvg, each at the best of three rates, chosen on training rows.",
        columns=("", ""),
        rows=rows,
        words=2,
        after=" ".join(f"Left out: {name} ({reason})." for name, reason in result.left_out.items()),
    )


def _rows(result: Battery) -> Section:
    columns = list(result.rows[0].accuracy)
    return Section(
        "rows",
        "Accuracy on all classes, mean over devices and seeds",
        columns=("data", "split", "graph", *columns, "gap", "bytes"),
        rows=[_row(row, columns) for row in result.rows],
        words=3,
    )


def _row(row: BatteryRow, columns: list[str]) -> tuple[Cell, ...]:
    accuracies = [fixed(row.mean(column)) for column in columns]
    return (row.data, row.split, row.topology, *accuracies, fixed(row.gap), times(row.reach, 0))


def _title(row: BatteryRow) -> str:
    return f"{row.data} {row.split} {row.topology}"


SPEC = CommandSpec(
    text="Run many data sets, splits and graphs with default settings, against tuned averaging of weights.",
    finding=Battery,
    arguments=arguments,
    run=run,
    sections=sections,
)
