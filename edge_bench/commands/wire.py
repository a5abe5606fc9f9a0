"""`edge-bench wire`."""

import argparse
from statistics import median

from edge_bench.measurements import wire
from edge_bench.measurements.wire import Stream, Wire
from edge_report import figures, flags
from edge_report.document import Cell, Number, Section, fixed, percent, times
from edge_report.figures import Point
from edge_report.finding import Progress
from edge_report.specs import CommandSpec


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    text = "number of classes: 10 is digits, others are synthetic"
    flags.add_integers(parser, "--classes", "10", text, least=2, metavar="C,C")
    flags.add_count(parser, "--rows", 1000, "rows of a message", "R")
    flags.add_count(parser, "--first", 20, "first round that is measured", "ROUND")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="rounds that are measured" + flags.DEFAULT)


def run(args: argparse.Namespace, progress: Progress) -> Wire:
    """See `CommandSpec.run`."""
    streams = [wire.measure(c, args.rows, args.first, args.rounds, progress=progress) for c in args.classes]
    return Wire(streams=streams)


def sections(codings: Wire) -> list[Section]:
    """Show a table and a picture for each stream."""
    return [_section(stream) for stream in codings.streams]


def _section(stream: Stream) -> Section:
    low, high = stream.accuracy
    points = [
        Point(line.coding, line.bytes, shown, shown, shown)
        for line in stream.lines
        for shown in [max(line.divergence, 1e-9)]
    ]
    return Section(
        f"codings-{stream.classes}",
        f"{stream.rows} rows of {stream.classes} classes; means of {len(stream.rounds)} rounds",
        columns=("coding", "bytes", "smaller", "KL", "argmax", "entropy", "given", "MB/s in", "out"),
        rows=[
            (
                line.coding,
                fixed(line.bytes, 0),
                times(line.smaller),
                Number(line.divergence, f"{line.divergence:.1e}"),
                percent(line.argmax),
                _known(line.zero_order),
                _known(line.conditional),
                fixed(median(line.encode_mb_s), 0),
                fixed(median(line.decode_mb_s), 0),
            )
            for line in sorted(stream.lines, key=lambda x: -x.bytes)
        ],
        after=f"The model is right in {low:.1%} of the rows in the first of these rounds, {high:.1%} in the last.",
        picture=lambda: figures.scatter(points, "bytes of a body", "divergence, nats", logarithmic=True),
    )


def _known(value: float | None) -> Cell:
    return "" if value is None else fixed(value, 0)


SPEC = CommandSpec(
    text="Compare codings of soft labels: bytes, divergence, speed, and what an entropy coder could hope for.",
    finding=Wire,
    arguments=arguments,
    run=run,
    sections=sections,
)
