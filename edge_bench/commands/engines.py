"""`edge-bench engines [ENGINE ...]`."""

import argparse
import contextlib
import tempfile
from pathlib import Path

from edge_bench.measurements import engines
from edge_bench.measurements.engines import CONTENDERS, REFERENCE, EngineRow, Engines
from edge_report.document import Cell, Section, fixed, seconds, size
from edge_report.finding import Progress
from edge_report.flags import add_count
from edge_report.specs import CommandSpec

COLUMNS = {"installed_bytes": size, "first_step_seconds": seconds, "peak_bytes": size, "step_seconds": seconds}


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    add_count(parser, "--batch", 32, "rows of a step")
    add_count(parser, "--rounds", 5, "processes of each engine, taking turns")
    parser.add_argument(
        "--environments", type=Path, metavar="FOLDER", help="keep the environments here (default: remove them)"
    )
    known = f"one of: {', '.join(CONTENDERS)} (default: all)"
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=known)


def run(args: argparse.Namespace, progress: Progress) -> Engines:
    """See `CommandSpec.run`."""
    with contextlib.ExitStack() as stack:
        folder = args.environments or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return engines.measure(
            folder.resolve(), names=args.engines, batch=args.batch, rounds=args.rounds, progress=progress
        )


def sections(comparison: Engines) -> list[Section]:
    """Show medians, each with its ratio to PyTorch's."""
    compared = any(line.name == REFERENCE for line in comparison.lines)
    names = _columns(("installed", "first step", "peak memory", "step"), compared)
    left_out = [f"Left out: {name} ({why})." for name, why in comparison.left_out.items()]
    return [
        Section(
            "engines",
            f"{comparison.model}, batch {comparison.batch}, one thread; medians of {comparison.rounds} processes each",
            columns=("engine", "version", *names, "loss after 20"),
            rows=[_row(comparison, line, compared) for line in comparison.lines],
            words=2,
            after=" ".join(left_out),
        )
    ]


def _columns(names: tuple[str, ...], compared: bool) -> list[str]:
    return [column for name in names for column in ([name, "share"] if compared else [name])]


def _row(comparison: Engines, line: EngineRow, compared: bool) -> list[Cell]:
    row: list[Cell] = [line.name, " ".join(v for k, v in line.versions.items() if k != "numpy")]
    for field, text in COLUMNS.items():
        row.append(text(line.median(field)))
        if compared:
            ratio = comparison.ratio(line, field)
            row.append("" if ratio is None or line.name == REFERENCE else fixed(ratio))
    return [*row, fixed(line.loss, 5)]


SPEC = CommandSpec(
    text="Compare engines and PyTorch on one training job, each in a clean environment.",
    finding=Engines,
    arguments=arguments,
    run=run,
    sections=sections,
)
