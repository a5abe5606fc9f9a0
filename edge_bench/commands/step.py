"""`edge-bench step`."""

import argparse
from collections.abc import Mapping
from functools import partial
from statistics import geometric_mean, median
from textwrap import shorten

from edge_bench.intervals import ratio, ratio_interval
from edge_bench.measurements import step
from edge_bench.measurements.step import CHANNELS_LAST, COMPILED, ENGINE, PEAK, STOCK, TORCH, TRAINER, StepRow, Steps
from edge_bench.models import SHAPES
from edge_report import figures, flags
from edge_report.document import Cell, Number, Section, fixed, percent
from edge_report.finding import Progress
from edge_report.specs import CommandSpec

SHORT = {ENGINE: "ours", STOCK: "stock", TORCH: "torch", CHANNELS_LAST: "last", COMPILED: "compiled"}
"""contender -> its name in the head of a column"""
Ratios = Mapping[str, Mapping[str, float]]
"""contender -> job -> its time over the reference's"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    known = f"some of: {', '.join(SHAPES)} (default: all)"
    parser.add_argument("--models", default=",".join(SHAPES), metavar="NAME,NAME", help=known)
    flags.add_integers(parser, "--batches", "1,8,32", "rows of a step", least=1)
    flags.add_seconds(parser, "--seconds", 4.0, "for each model and batch")
    known = f"some of: {', '.join(step.AGAINST)} (default: torch)"
    parser.add_argument("--against", default="torch", metavar="NAME,NAME", help=f"whom to measure beside us: {known}")
    parser.add_argument("--compile", action="store_true", help="add torch.compile")
    parser.add_argument("--trainer", action="store_true", help="add edge.Trainer, and its time over its engine's")
    parser.add_argument("--peak", action="store_true", help="add a matrix product, and the share of its speed")


def run(args: argparse.Namespace, progress: Progress) -> Steps:
    """See `CommandSpec.run`."""
    further = {
        COMPILED: args.compile and "torch-compile" not in flags.words(args.against),
        TRAINER: args.trainer,
        PEAK: args.peak,
    }
    return step.measure(
        flags.words(args.models),
        args.batches,
        seconds=args.seconds,
        names=[*step.contenders(flags.words(args.against)), *(name for name, wanted in further.items() if wanted)],
        progress=progress,
    )


def sections(steps: Steps) -> list[Section]:
    """Show every contender, and its ratio to the reference: PyTorch, or else the first that is there."""
    names = list(dict.fromkeys(line.name for line in steps.lines))
    reference = TORCH if TORCH in names else names[0]
    ratios = _ratios(steps, reference)
    return [
        _table(steps, names[0], reference, ratios),
        *_best(steps),
        *(
            Section(
                f"{name}-over-{reference}",
                f"{name} over {reference}",
                picture=partial(figures.bars, {job: {"ratio": value} for job, value in of.items()}, "ratio"),
            )
            for name, of in ratios.items()
        ),
    ]


def _best(steps: Steps) -> list[Section]:
    """Show our engine, with and without kernels, over whichever opponent was the quickest at each job."""
    others = [o for o in step.AGAINST.values() if step.of(steps.lines, o)]
    ours = [name for name in (ENGINE, STOCK) if step.of(steps.lines, name)]
    if len(others) < 2 or not ours:
        return []
    columns = [(name, other) for name in ours for other in (*others, "best")]
    values: dict[tuple[str, str], list[float]] = {column: [] for column in columns}
    rows = []
    for job, line in step.of(steps.lines, ours[0]).items():
        times = {o: step.of(steps.lines, o)[job].step_seconds for o in others if job in step.of(steps.lines, o)}
        times["best"] = min(times.values(), key=median)
        row: list[Cell] = [line.model, str(line.batch)]
        for name, other in columns:
            value = ratio(step.of(steps.lines, name)[job].step_seconds, times[other])
            values[name, other].append(value)
            row.append(fixed(value, 2))
        rows.append(row)
    rows.append(["geometric mean", "", *(fixed(geometric_mean(values[column]), 2) for column in columns)])
    lost = [sum(v > 1 for v in values[name, "best"]) for name in ours]
    words = [f"{name} loses {n} of {len(rows) - 1} rows" for name, n in zip(ours, lost, strict=True)]
    return [
        Section(
            "best",
            "Over each opponent, and over the quickest of them",
            columns=("model", "batch", *(f"{SHORT[name]}/{SHORT.get(other, other)}" for name, other in columns)),
            rows=rows,
            words=2,
            after=f"To the quickest opponent {', '.join(words)}.",
        )
    ]


def _ratios(steps: Steps, reference: str) -> Ratios:
    to = step.of(steps.lines, reference)
    ratios: dict[str, dict[str, float]] = {}
    for line in steps.lines:
        job = line.model, line.batch
        if line.name not in (reference, PEAK) and job in to:
            value = ratio(line.step_seconds, to[job].step_seconds)
            ratios.setdefault(line.name, {})[f"{line.model}, {line.batch}"] = value
    return ratios


def _table(steps: Steps, first: str, reference: str, ratios: Ratios) -> Section:
    to = step.of(steps.lines, reference)
    peak = {job: line.macs_per_second for job, line in step.of(steps.lines, PEAK).items()}
    shown = [line for line in steps.lines if line.name != PEAK]
    rows = []
    for line in shown:
        job = line.model, line.batch
        share = [percent(line.macs_per_second / peak[job])] if peak else []
        rows.append([*_cells(line), *_over(line, None if line.name == reference else to.get(job)), *share])
    means = [f"{name} over {reference} {geometric_mean(of.values()):.2f}" for name, of in ratios.items()]
    after = [f"Geometric means: {', '.join(means)}."] if means else []
    after += [_overhead(steps)] if any(line.name == TRAINER for line in steps.lines) else []
    after += [f"Left out: {name} ({shorten(why, 100)})." for name, why in steps.left_out.items()]
    return Section(
        "steps",
        "A training step, one thread",
        columns=("model", "batch", "who", "ms", f"over {reference}", "95 %", *(["of peak"] if peak else [])),
        rows=rows,
        words=3,
        strong=frozenset(i for i, line in enumerate(shown) if line.name == first),
        after=" ".join(after),
    )


def _overhead(steps: Steps) -> str:
    """What `edge.Trainer` costs over its engine."""
    engine = step.of(steps.lines, ENGINE)
    parts = []
    for job, line in step.of(steps.lines, TRAINER).items():
        low, high = ratio_interval(line.step_seconds, engine[job].step_seconds)
        parts.append(
            f"{job[0]}, {job[1]}: {ratio(line.step_seconds, engine[job].step_seconds):.3f} ({low:.3f}-{high:.3f})"
        )
    return f"{TRAINER} over {ENGINE}: {'; '.join(parts)}."


def _cells(line: StepRow) -> list[Cell]:
    milliseconds = 1e3 * median(line.step_seconds)
    return [line.model, str(line.batch), line.name, Number(milliseconds, f"{milliseconds:.3f}")]


def _over(line: StepRow, reference: StepRow | None) -> list[Cell]:
    if reference is None:
        return ["", ""]
    low, high = ratio_interval(line.step_seconds, reference.step_seconds)
    return [fixed(ratio(line.step_seconds, reference.step_seconds), 2), f"{low:.2f}-{high:.2f}"]


SPEC = CommandSpec(
    text="Time one training step: the installed engines and PyTorch, in turns in one process.",
    finding=Steps,
    arguments=arguments,
    run=run,
    sections=sections,
)
