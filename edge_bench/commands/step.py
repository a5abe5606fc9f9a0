"""`edge-bench step`."""

import argparse
from functools import partial
from statistics import geometric_mean, median
from textwrap import shorten

from edge.errors import ConfigError
from edge_bench import step
from edge_bench.intervals import ratio, ratio_interval
from edge_bench.models import SHAPES
from edge_bench.step import COMPILED, PEAK, TORCH, Steps
from edge_report import figures
from edge_report.document import Cell, Number, Section, fixed, percent
from edge_report.finding import Progress
from edge_report.flags import numbers, words

TEXT = "One training step: the installed engines and PyTorch, in turns in one process."
FINDING = Steps


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("--models", default=",".join(SHAPES), metavar="NAME,NAME", help=", ".join(SHAPES))
    parser.add_argument("--batches", default="1,8,32", metavar="N,N", help="rows of a step; 1,8,32")
    parser.add_argument("--seconds", type=float, default=4.0, metavar="S", help="for each model and batch; 4")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    parser.add_argument("--peak", action="store_true", help="a matrix product, too, and the share of its speed")


def run(args: argparse.Namespace, progress: Progress) -> Steps:
    """See `edge_bench.commands`."""
    if not args.seconds > 0:
        raise ConfigError(f"--seconds {args.seconds}: expected more than 0")
    return step.measure(
        words(args.models),
        numbers("--batches", args.batches, 1),
        seconds=args.seconds,
        names=[*step.contenders(), *([COMPILED] if args.compile else []), *([PEAK] if args.peak else [])],
        progress=progress,
    )


def sections(found: Steps) -> list[Section]:
    """Every contender, and its ratio to the reference: PyTorch, or else the first that is there."""
    names = list(dict.fromkeys(line.name for line in found.lines))
    reference = TORCH if TORCH in names else names[0]
    to = step.of(found.lines, reference)
    peak = {job: line.macs_per_second for job, line in step.of(found.lines, PEAK).items()}
    rows: list[list[Cell]] = []
    ratios: dict[str, dict[str, float]] = {}
    for line in found.lines:
        if line.name == PEAK:
            continue
        job = line.model, line.batch
        row: list[Cell] = [line.model, str(line.batch), line.name, Number(ms := _ms(line), f"{ms:.3f}")]
        if line.name != reference and job in to:
            value = ratio(line.step_seconds, to[job].step_seconds)
            ratios.setdefault(line.name, {})[f"{line.model}, {line.batch}"] = value
            low, high = ratio_interval(line.step_seconds, to[job].step_seconds)
            row += [fixed(value, 2), f"{low:.2f}-{high:.2f}"]
        else:
            row += ["", ""]
        rows.append([*row, percent(line.macs_per_second / peak[job])] if peak else row)
    means = [f"{name} over {reference} {geometric_mean(of.values()):.2f}" for name, of in ratios.items()]
    return [
        Section(
            "steps",
            "A training step, one thread",
            columns=("model", "batch", "who", "ms", f"over {reference}", "95 %", *(["of peak"] if peak else [])),
            rows=rows,
            words=3,
            strong=frozenset(i for i, row in enumerate(rows) if row[2] == names[0]),
            after=" ".join(
                [
                    *([f"Geometric means: {', '.join(means)}."] if means else []),
                    *(f"Left out: {name} ({shorten(why, 100)})." for name, why in found.left_out.items()),
                ]
            ),
        ),
        *(
            Section(
                f"{name}-over-{reference}",
                f"{name} over {reference}",
                picture=partial(figures.bars, {job: {"ratio": value} for job, value in of.items()}, "ratio"),
            )
            for name, of in ratios.items()
        ),
    ]


def _ms(line: step.Line) -> float:
    return 1e3 * median(line.step_seconds)
