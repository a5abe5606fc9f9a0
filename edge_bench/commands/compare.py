"""`edge-bench compare A.json B.json`: two results of one command, and what changed between them beyond noise.

Every number of the JSON files is identified by its path; entries of a list by what names them (a coding, a protocol, a
claim), so that order does not matter. Where there are MEASURED numbers or more at both places (rounds, seeds), the
interval of the ratio of their medians says whether it changed; where there is one, its noise is unknown, and any
difference is shown as such.
"""

import argparse
from collections import Counter
from collections.abc import Mapping
from math import isfinite, nan
from pathlib import Path
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel

from edge.errors import ConfigError
from edge_bench.intervals import ratio, ratio_interval
from edge_bench.record import coding_today
from edge_report.document import Number, Section
from edge_report.finding import Finding, Progress, loaded
from edge_report.specs import CommandSpec

MEASURED = 5
"""how many numbers it takes to speak of noise"""
NAMES = ("system", "coding", "protocol", "name", "noise", "claim", "id", "round", "model", "batch", "classes")
"""fields that identify an entry of a list"""
Verdict = Literal["changed", "differs", "same"]


class Change(BaseModel):
    """One number in both files.

    Attributes:
        path: where it is.
        first: median of the first file's numbers there.
        second: of the second file's.
        ratio: of the second to the first; none if the first is 0.
        low: lower end of the ratio's interval, if noise is known.
        high: upper end.
        verdict: whether it changed beyond noise, differs where noise is unknown, or is the same.
    """

    path: str
    first: float
    second: float
    ratio: float | None
    low: float | None = None
    high: float | None = None
    verdict: Verdict


class Compared(Finding):
    """What changed between two results.

    Attributes:
        changes: every number that both have.
        shown: paths of those to show; all if absent.
        places: differences of machine, versions and commit, by name: (first, second).
        only_first: paths that the second file lacks.
        only_second: paths that the first file lacks.
    """

    command: str = "compare"
    changes: list[Change]
    shown: list[str] | None = None
    places: dict[str, tuple[str, str]]
    only_first: list[str]
    only_second: list[str]


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    parser.add_argument("first", type=Path, metavar="A.json")
    parser.add_argument("second", type=Path, metavar="B.json")
    parser.add_argument("--all", action="store_true", help="show what is the same, too")


def run(args: argparse.Namespace, _progress: Progress) -> Compared:
    """See `CommandSpec.run`."""
    compared = compare(loaded(args.first), loaded(args.second))
    if not compared.changes:
        raise ConfigError(f"{args.first} and {args.second} have no number in common; name two results of one command")
    if args.all:
        return compared
    return compared.model_copy(update={"shown": [c.path for c in compared.changes if c.verdict != "same"]})


def compare(first: Any, second: Any) -> Compared:
    """Compare all numbers that two results, as read from JSON, have in common.

    >>> [change.verdict for change in compare({"bytes": 3, "rows": 1}, {"bytes": 4, "rows": 1}).changes]
    ['differs', 'same']
    """
    one, two = numbers(first), numbers(second)
    were, are = environments(first), environments(second)
    return Compared(
        changes=[_change(path, one[path], two[path]) for path in one if path in two],
        places={
            key: (were.get(key, ""), are.get(key, ""))
            for key in sorted(were.keys() | are.keys())
            if were.get(key) != are.get(key)
        },
        only_first=sorted(set(one) - set(two)),
        only_second=sorted(set(two) - set(one)),
    )


def numbers(value: Any, path: str = "") -> dict[str, list[float]]:
    """Collect the numbers of a JSON value by their paths; the environment is left out.

    >>> numbers({"lines": [{"coding": "float32", "bytes": 40}]})
    {'lines/float32/bytes': [40.0]}
    """
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return {}
    if isinstance(value, int | float):
        return {path: [float(value)]} if isfinite(value) else {}
    if isinstance(value, list) and value and all(isinstance(x, int | float) for x in value):
        finite = [float(x) for x in value if isfinite(x)]
        return {path: finite} if finite else {}
    inner: dict[str, list[float]] = {}
    for key, entry in _entries(value):
        if key not in ("environment", "scenario", "schema_version"):
            inner |= numbers(entry, f"{path}/{key}" if path else str(key))
    return inner


def environments(value: Any) -> dict[str, str]:
    """Flatten the first environment in a result: name -> text."""
    if isinstance(value, list):
        return environments(value[0]) if value else {}
    known = value.get("environment", {}) if isinstance(value, Mapping) else {}
    flat = {k: v for k, v in known.items() if not isinstance(v, Mapping)} | known.get("packages", {})
    return {key: str(text) for key, text in flat.items()}


def _entries(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, Mapping):
        return [(str(k), v) for k, v in value.items()]
    entries: dict[str, Any] = {}
    for i, entry in enumerate(value):
        key = ":".join(_names(entry)) or str(i)
        entries[key if key not in entries else f"{key}#{i}"] = entry
    return list(entries.items())


def _names(entry: Any) -> list[str]:
    """Return what identifies an entry of a list; codings by their names of today."""
    if not isinstance(entry, Mapping):
        return []
    names = {field: str(entry[field]) for field in NAMES if isinstance(entry.get(field), str | int)}
    return [coding_today(name) if field == "coding" else name for field, name in names.items()]


def _change(path: str, first: list[float], second: list[float]) -> Change:
    of = ratio(second, first)
    low, high = ratio_interval(second, first) if min(len(first), len(second)) >= MEASURED else (nan, nan)
    known = isfinite(low) and isfinite(high)
    verdict: Verdict = "same" if (low <= 1 <= high if known else first == second) else "changed" if known else "differs"
    return Change(
        path=path,
        first=median(first),
        second=median(second),
        ratio=of if isfinite(of) else None,
        low=low if known else None,
        high=high if known else None,
        verdict=verdict,
    )


def sections(compared: Compared) -> list[Section]:
    """Show what changed, or every number that both have."""
    shown = [change for change in compared.changes if compared.shown is None or change.path in compared.shown]
    count = Counter(change.verdict for change in compared.changes)
    noisy = f"{count['changed']} changed beyond noise, {count['differs']} differ (too few to tell)"
    after = [f"Of {len(compared.changes)} numbers in both {noisy}, {count['same']} are the same."]
    for name, paths in (("first", compared.only_first), ("second", compared.only_second)):
        if paths:
            after.append(f"Only in the {name}: {len(paths)}, e.g. {paths[0]}.")
    places = [f"{key}: {one or 'unknown'} -> {two or 'unknown'}" for key, (one, two) in compared.places.items()]
    return [
        Section(
            "changes",
            "What changed",
            lead="\n".join(places),
            columns=("what", "verdict", "first", "second", "ratio", "95 %"),
            rows=[_row(change) for change in shown],
            words=2,
            strong=frozenset(i for i, change in enumerate(shown) if change.verdict == "changed"),
            after=" ".join(after),
        )
    ]


def _row(change: Change) -> tuple[str | Number, ...]:
    known = "" if change.low is None else f"{change.low:.3g} to {change.high:.3g}"
    of = "" if change.ratio is None else Number(change.ratio, f"{change.ratio:.3g}")
    first, second = (Number(value, f"{value:.6g}") for value in (change.first, change.second))
    return change.path, change.verdict, first, second, of, known


SPEC = CommandSpec(
    text="Compare two results of one command: what changed between them beyond noise.",
    finding=Compared,
    arguments=arguments,
    run=run,
    sections=sections,
)
