"""`edge-bench memory`."""

import argparse
from statistics import median

from edge_bench import flags
from edge_bench.intervals import interval
from edge_bench.measurements import memory
from edge_bench.measurements.memory import MemoryUse
from edge_report import figures
from edge_report.document import Cell, Number, Section, size
from edge_report.finding import Progress
from edge_report.flags import add_count
from edge_report.specs import CommandSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    flags.add_device(parser)
    add_count(parser, "--neighbours", 2, "devices that send a message each round", "M")
    add_count(parser, "--recompute", 1, "recompute activations in so many segments, as edge-export does")
    add_count(parser, "--processes", 5, "fresh processes")


def run(args: argparse.Namespace, progress: Progress) -> MemoryUse:
    """See `CommandSpec.run`."""
    return memory.measure(
        args.model,
        engine=args.engine,
        batch=args.batch,
        reference=args.reference,
        neighbours=args.neighbours,
        segments=args.recompute,
        processes=args.processes,
        progress=progress,
    )


def sections(use: MemoryUse) -> list[Section]:
    """Show the parts, and the whole."""
    low, high = interval(use.peak)
    group = "" if use.group_bytes is None else f" The control group, with all else in it: {size(use.group_bytes)}."
    rows = [*map(_row, use.parts), _whole(use)]
    planned = {p.name: (median(p.held) if p.planned is None else p.planned) / 1e6 for p in use.parts}
    measured = {p.name: max(0.0, memory.measured(p)) / 1e6 for p in use.parts}
    return [
        Section(
            "memory",
            f"{use.model} on {use.engine}, batch {use.batch}",
            lead=f"Resident memory, medians of {len(use.peak)} fresh processes; messages of {use.reference} rows "
            f"from {use.neighbours} neighbours. Whole: what is not planned, and the plan.",
            columns=("part", "planned", "held after", "peak during", "plan is off by"),
            rows=rows,
            strong=frozenset([len(rows) - 1]),
            after=f"Peak {size(low)} to {size(high)} (95 %). At the end {size(median(use.private))} are private to the "
            f"process; its proportional share of all pages is {size(median(use.proportional))}.{group}",
            picture=lambda: figures.bars({"planned": planned, "measured": measured}, "MB"),
        )
    ]


def _row(part: memory.Part) -> tuple[Cell, ...]:
    error = memory.error(part)
    return (
        part.name,
        "" if part.planned is None else size(part.planned),
        size(median(part.held)),
        size(median(part.peak)),
        "" if error is None else Number(error, f"{error:+.0%}"),
    )


def _whole(use: MemoryUse) -> tuple[Cell, ...]:
    predicted, peak = median(use.predicted), median(use.peak)
    error = predicted / peak - 1
    held = sum(median(part.held) for part in use.parts)
    return "whole process", size(predicted), size(held), size(peak), Number(error, f"{error:+.1%}")


SPEC = CommandSpec(
    text="Plan a device's memory, and measure it in fresh processes, part by part.",
    finding=MemoryUse,
    arguments=arguments,
    run=run,
    sections=sections,
)
