"""`edge-bench privacy`."""

import argparse

from edge_bench import privacy
from edge_bench.privacy import Budgets
from edge_report.document import Number, Section
from edge_report.finding import Progress
from edge_report.flags import words

TEXT = "What noise on the published rows guarantees: epsilon, by the accountants of dp-accounting."
FINDING = Budgets


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("--noise", default="gaussian:1,gaussian:10,laplace:10", metavar="NAME:SCALE,...")
    parser.add_argument(
        "--rows", type=int, default=300, metavar="R", help="of the reference set, or of its subset; 300"
    )
    parser.add_argument("--rounds", type=int, default=100, metavar="T", help="in which they are published; 100")
    parser.add_argument("--delta", type=float, default=1e-5, metavar="D", help="1e-5")


def run(args: argparse.Namespace, _progress: Progress) -> Budgets:
    """See `edge_bench.commands`."""
    return privacy.measure(words(args.noise), rows=args.rows, rounds=args.rounds, delta=args.delta)


def sections(found: Budgets) -> list[Section]:
    """A table."""
    first = found.lines[0]
    return [
        Section(
            "epsilon",
            f"{first.rows} rows in {first.rounds} rounds, delta {first.delta:g}, for all that a device holds",
            columns=("noise", "epsilon"),
            rows=[
                (x.noise, "infinite" if x.epsilon is None else Number(x.epsilon, f"{x.epsilon:.4g}"))
                for x in found.lines
            ],
            after="Above 10 or so this is no promise to speak of.",
        )
    ]
