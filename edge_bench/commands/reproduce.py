"""`edge-bench reproduce [SYSTEM ...]`."""

import argparse
from collections.abc import Sequence
from functools import partial

from edge import plugins
from edge_bench import flags, reproduce
from edge_bench.record import Report, Run
from edge_report import figures
from edge_report.document import Section
from edge_report.figures import Point
from edge_report.finding import Progress, mean

TEXT = "Check the claims of the papers."
FINDING = Report


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    known = ", ".join(plugins.names("edge_bench.claims"))
    flags.fleets(parser, "0,1,2")
    parser.add_argument("--rows", type=int, default=4000, metavar="N", help="at most so many of the data; 4000")
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"one of: {known}; all by default")


def run(args: argparse.Namespace, progress: Progress) -> Report:
    """See `edge_bench.commands`."""
    return reproduce.reproduce(
        args.data,
        flags.seeds(args),
        names=args.systems,
        rows=args.rows,
        workers=flags.workers(args),
        progress=progress,
    )


def sections(found: Report) -> list[Section]:
    """The claims, and a picture for every system."""
    failed = [row.claim for row in found.rows if row.verdict == "fails"]
    said = f"; not here: {', '.join(failed)}" if failed else ""
    claims = Section(
        "claims",
        f"Claims on {found.data}, seeds {', '.join(map(str, found.seeds))}",
        columns=("claim", "", "says"),
        rows=[(r.claim, r.verdict, f"{r.statement}\npaper: {r.paper}\nours: {r.ours}") for r in found.rows],
        words=3,
        strong=frozenset(i for i, row in enumerate(found.rows) if row.verdict == "fails"),
        after=f"{len(found.rows) - len(failed)} of {len(found.rows)} claims hold{said}. {found.seconds:.0f} s.",
    )
    pictures = []
    for system in dict.fromkeys(run.system for run in found.runs):
        points = [_point(run) for run in found.runs if run.system == system and run.plotted]
        if points:
            pictures.append(Section(system, f"{system} on {flags.short(found.data)}", picture=partial(_pareto, points)))
    return [claims, *pictures]


def _pareto(points: Sequence[Point]) -> str:
    return figures.scatter(points, "payload bytes a device (| none)", "accuracy on all classes")


def _point(run: Run) -> Point:
    found = run.mean_accuracy
    return Point(run.name, mean(run.payload_bytes_per_device), mean(found), min(found), max(found))
