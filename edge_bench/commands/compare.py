"""`edge-bench compare A.json B.json`."""

import argparse
from collections import Counter
from pathlib import Path

from edge.errors import ConfigError
from edge_bench import compare
from edge_bench.compare import Change, Compared
from edge_report.document import Number, Section
from edge_report.finding import Progress, loaded

TEXT = "Two results of the same command: what changed between them beyond noise."
FINDING = Compared


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `edge_bench.commands`."""
    parser.add_argument("first", type=Path, metavar="A.json")
    parser.add_argument("second", type=Path, metavar="B.json")
    parser.add_argument("--all", action="store_true", help="what is the same, too")


def run(args: argparse.Namespace, _progress: Progress) -> Compared:
    """See `edge_bench.commands`."""
    found = compare.compare(loaded(args.first), loaded(args.second))
    if not found.changes:
        raise ConfigError(f"{args.first} and {args.second} have no number in common; name two results of one command")
    return (
        found
        if args.all
        else found.model_copy(update={"shown": [c.path for c in found.changes if c.verdict != "same"]})
    )


def sections(found: Compared) -> list[Section]:
    """What changed; or all that both have."""
    shown = [change for change in found.changes if found.shown is None or change.path in found.shown]
    count = Counter(change.verdict for change in found.changes)
    noisy = f"{count['changed']} changed beyond noise, {count['differs']} differ (too few to tell)"
    after = [f"Of {len(found.changes)} numbers in both {noisy}, {count['same']} are the same."]
    for name, paths in (("first", found.only_first), ("second", found.only_second)):
        if paths:
            after.append(f"Only in the {name}: {len(paths)}, e.g. {paths[0]}.")
    return [
        Section(
            "changes",
            "What changed",
            lead="\n".join(f"{k}: {one or 'unknown'} -> {two or 'unknown'}" for k, (one, two) in found.places.items()),
            columns=("what", "verdict", "first", "second", "ratio", "95 %"),
            rows=[_row(change) for change in shown],
            words=2,
            strong=frozenset(i for i, change in enumerate(shown) if change.verdict == "changed"),
            after=" ".join(after),
        )
    ]


def _row(change: Change) -> tuple[str | Number, ...]:
    known = "" if change.low is None else f"{change.low:.3g} to {change.high:.3g}"
    ratio = "" if change.ratio is None else Number(change.ratio, f"{change.ratio:.3g}")
    first, second = (Number(value, f"{value:.6g}") for value in (change.first, change.second))
    return change.path, change.verdict, first, second, ratio, known
