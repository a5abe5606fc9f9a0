"""`edge-bench engines [ENGINE ...]`."""

import argparse
import contextlib
import tempfile
from pathlib import Path

from edge_bench import engines
from edge_bench.engines import CONTENDERS, REFERENCE, Engines, Line
from edge_report.document import Cell, Section, fixed, seconds, size
from edge_report.finding import Progress
from edge_report.flags import at_least_one

TEXT = "Engines and PyTorch on one training job, each in a clean environment."
FINDING = Engines
COLUMNS = {"installed_bytes": size, "first_step_seconds": seconds, "peak_bytes": size, "step_seconds": seconds}


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="rows of a step; 32")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="processes of each, taking turns; 5")
    parser.add_argument(
        "--environments", type=Path, metavar="FOLDER", help="keep them there; else they are thrown away"
    )
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"one of: {', '.join(CONTENDERS)}; all by default")


def run(args: argparse.Namespace, progress: Progress) -> Engines:
    """See `edge_bench.commands`."""
    batch, rounds = at_least_one(args, "batch"), at_least_one(args, "rounds")
    with contextlib.ExitStack() as stack:
        folder = args.environments or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        return engines.measure(folder.resolve(), names=args.engines, batch=batch, rounds=rounds, progress=progress)


def sections(found: Engines) -> list[Section]:
    """Medians, each with its share of PyTorch's."""
    compared = any(line.name == REFERENCE for line in found.lines)
    left_out = [f"Left out: {name} ({why})." for name, why in found.left_out.items()]
    return [
        Section(
            "engines",
            f"{found.model}, batch {found.batch}, one thread; medians of {found.rounds} processes each",
            columns=(
                "engine",
                "version",
                *_columns(("installed", "first step", "peak memory", "step"), compared),
                "loss after 20",
            ),
            rows=[_row(found, line, compared) for line in found.lines],
            words=2,
            after=" ".join(left_out),
        )
    ]


def _columns(names: tuple[str, ...], compared: bool) -> list[str]:
    return [column for name in names for column in ([name, "share"] if compared else [name])]


def _row(found: Engines, line: Line, compared: bool) -> list[Cell]:
    row: list[Cell] = [line.name, " ".join(v for k, v in line.versions.items() if k != "numpy")]
    for what, text in COLUMNS.items():
        row.append(text(line.median(what)))
        if compared:
            ratio = found.ratio(line, what)
            row.append("" if ratio is None or line.name == REFERENCE else fixed(ratio))
    return [*row, fixed(line.loss, 5)]
