"""Two results of the same command, and what changed between them beyond noise.

Every number of the JSON files is found by its path; entries of a list by what names them (a coding, a protocol, a
claim), so that order does not matter. Where there are MEASURED numbers or more at both places (rounds, seeds), the
interval of the ratio of their medians says whether it changed; where there is one, no noise is known, and any
difference is told as such.
"""

from collections.abc import Mapping
from math import isfinite, nan
from statistics import median
from typing import Any, Literal

from pydantic import BaseModel

from edge_bench.intervals import ratio, ratio_interval
from edge_report.finding import Finding

MEASURED = 5
"""numbers that it takes to speak of noise"""
NAMES = ("system", "coding", "protocol", "name", "noise", "claim", "id", "round", "model", "batch", "classes")
"""fields by which an entry of a list is known"""
Verdict = Literal["changed", "differs", "same"]


class Change(BaseModel):
    """One number in both files. ratio: of the second to the first; low, high: its interval, if noise is known."""

    path: str
    first: float
    second: float
    ratio: float | None
    low: float | None = None
    high: float | None = None
    verdict: Verdict


class Compared(Finding):
    """places: what was different about the machines, versions and commits; only_*: paths that one file lacks."""

    command: str = "compare"
    changes: list[Change]
    shown: list[str] | None = None
    """paths of those that are for people; all, if none"""
    places: dict[str, tuple[str, str]]
    only_first: list[str]
    only_second: list[str]


def compare(first: Any, second: Any) -> Compared:
    """All numbers that both have."""
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


def numbers(found: Any, path: str = "") -> dict[str, list[float]]:
    """Path -> the numbers there; the environment left out."""
    if isinstance(found, bool) or found is None or isinstance(found, str):
        return {}
    if isinstance(found, int | float):
        return {path: [float(found)]} if isfinite(found) else {}
    if isinstance(found, list) and found and all(isinstance(x, int | float) for x in found):
        return {path: [float(x) for x in found if isfinite(x)]}
    inner: dict[str, list[float]] = {}
    for key, value in _entries(found):
        if key not in ("environment", "scenario", "schema_version"):
            inner |= numbers(value, f"{path}/{key}" if path else str(key))
    return inner


def environments(found: Any) -> dict[str, str]:
    """What the first environment in a result says, flat."""
    if isinstance(found, list):
        return environments(found[0]) if found else {}
    known = found.get("environment", {}) if isinstance(found, Mapping) else {}
    flat = {k: v for k, v in known.items() if not isinstance(v, Mapping)} | known.get("packages", {})
    return {key: str(value) for key, value in flat.items()}


def _entries(found: Any) -> list[tuple[str, Any]]:
    if isinstance(found, Mapping):
        return [(str(k), v) for k, v in found.items()]
    taken: dict[str, Any] = {}
    for i, value in enumerate(found):
        named = [str(value[n]) for n in NAMES if isinstance(value, Mapping) and isinstance(value.get(n), str | int)]
        key = ":".join(named) or str(i)
        taken[key if key not in taken else f"{key}#{i}"] = value
    return list(taken.items())


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
