"""`edge-bench wire`."""

import argparse
from statistics import median

from edge_bench import wire
from edge_bench.wire import Stream, Wire
from edge_report import figures
from edge_report.document import Cell, Number, Section, fixed, percent, times
from edge_report.figures import Point
from edge_report.finding import Progress
from edge_report.flags import numbers

TEXT = "Codings of soft labels: bytes, divergence, speed, and what an entropy coder could hope for."
FINDING = Wire


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("--classes", default="10", metavar="C,C", help="10 is digits, others are synthetic; 10")
    parser.add_argument("--rows", type=int, default=1000, metavar="R", help="of a message; 1000")
    parser.add_argument("--first", type=int, default=20, metavar="ROUND", help="the first that is measured; 20")
    parser.add_argument("--rounds", type=int, default=20, metavar="N", help="how many are measured; 20")


def run(args: argparse.Namespace, progress: Progress) -> Wire:
    """See `edge_bench.commands`."""
    classes = numbers("--classes", args.classes, 2)
    return Wire(streams=[wire.measure(c, args.rows, args.first, args.rounds, progress=progress) for c in classes])


def sections(found: Wire) -> list[Section]:
    """A table and a picture for each stream."""
    return [_section(stream) for stream in found.streams]


def _section(stream: Stream) -> Section:
    low, high = stream.accuracy
    points = [
        Point(
            line.coding, line.bytes, max(line.divergence, 1e-9), max(line.divergence, 1e-9), max(line.divergence, 1e-9)
        )
        for line in stream.lines
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
