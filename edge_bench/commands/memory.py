"""`edge-bench memory`."""

import argparse
from statistics import median

from edge.specs import ENGINES
from edge_bench import memory
from edge_bench.intervals import interval
from edge_bench.memory import Memory
from edge_bench.models import SHAPES
from edge_report import figures
from edge_report.document import Cell, Number, Section, size
from edge_report.finding import Progress
from edge_report.flags import at_least_one

TEXT = "Where a device's memory goes: planned, and measured in fresh processes, part by part."
FINDING = Memory


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument(
        "--model", default="small-cnn", metavar="NAME|BUNDLE", help=f"a bundle's folder, or {', '.join(SHAPES)}"
    )
    parser.add_argument("--engine", default="onnx-runtime", metavar="|".join(ENGINES.names()))
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="rows of a step; 32")
    parser.add_argument("--reference", type=int, default=300, metavar="R", help="rows of a message; 300")
    parser.add_argument("--neighbours", type=int, default=2, metavar="M", help="who say one each round; 2")
    parser.add_argument("--recompute", type=int, default=1, metavar="N", help="segments, as of edge-export; 1")
    parser.add_argument("--processes", type=int, default=5, metavar="N", help="5")


def run(args: argparse.Namespace, progress: Progress) -> Memory:
    """See `edge_bench.commands`."""
    return memory.measure(
        args.model,
        engine=args.engine,
        batch=at_least_one(args, "batch"),
        reference=at_least_one(args, "reference"),
        neighbours=at_least_one(args, "neighbours"),
        segments=at_least_one(args, "recompute"),
        processes=at_least_one(args, "processes"),
        progress=progress,
    )


def sections(found: Memory) -> list[Section]:
    """Part by part, and the whole."""
    rows: list[tuple[Cell, ...]] = []
    for part in found.parts:
        known = memory.error(part)
        rows.append(
            (
                part.name,
                "" if part.planned is None else size(part.planned),
                size(median(part.held)),
                size(median(part.peak)),
                "" if known is None else Number(known, f"{known:+.0%}"),
            )
        )
    predicted, peak = median(found.predicted), median(found.peak)
    off = predicted / peak - 1
    rows.append(
        (
            "whole process",
            size(predicted),
            size(sum(median(part.held) for part in found.parts)),
            size(peak),
            Number(off, f"{off:+.1%}"),
        )
    )
    low, high = interval(found.peak)
    group = "" if found.group_bytes is None else f" The control group, with all else in it: {size(found.group_bytes)}."
    return [
        Section(
            "memory",
            f"{found.model} on {found.engine}, batch {found.batch}",
            lead=f"Resident memory, medians of {len(found.peak)} fresh processes; messages of {found.reference} rows "
            f"from {found.neighbours} neighbours. Whole: what is not planned, and the plan.",
            columns=("part", "planned", "held after", "peak during", "plan is off by"),
            rows=rows,
            strong=frozenset([len(rows) - 1]),
            after=f"Peak {size(low)} to {size(high)} (95 %). In the end {size(median(found.private))} are its "
            f"own, {size(median(found.proportional))} its share with what it shares.{group}",
            picture=lambda: figures.bars(
                {
                    "planned": {
                        p.name: (median(p.held) if p.planned is None else p.planned) / 1e6 for p in found.parts
                    },
                    "measured": {p.name: max(0.0, memory.measured(p)) / 1e6 for p in found.parts},
                },
                "MB",
            ),
        )
    ]
