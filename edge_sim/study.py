"""A scenario file as a question: variants of one scenario, a grid over them, and the expected outcome.

For example:

    question = "Does a torus mix faster than a ring?"
    [variants.torus]                 # changes to the rest of the file, by name
    topology = "torus"
    [grid]                           # every variant with every combination of these
    split = ["iid", "classes:2"]
    [[expect]]                       # what the means over the seeds should be
    say = "with two classes each the torus is ahead"
    measure = "mean_accuracy"
    of = "torus, split=classes:2"
    than = "ring, split=classes:2"
    at_least = 0.01                  # of the difference; of the measure itself without `than`
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from itertools import product
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from edge.config import checked, merged, read_toml
from edge.errors import ConfigError
from edge_sim import scenario_files as scenarios
from edge_sim.result import Result
from edge_sim.scenario import Scenario

Measure = Literal[
    "mean_accuracy", "worst_accuracy", "mean_accuracy_own", "payload_bytes_per_device", "virtual_seconds", "rounds"
]


class Expectation(BaseModel):
    """One expected outcome. of, than: labels of points; `ratio` compares by division."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    say: str
    measure: Measure = "mean_accuracy"
    of: str
    than: str | None = None
    ratio: bool = False
    at_least: float | None = None
    at_most: float | None = None

    def value(self, measured: Mapping[str, Mapping[str, float]]) -> float:
        """Return what is compared with the limits. measured: label -> measure -> mean over the seeds."""
        value = measured[self.of][self.measure]
        if self.than is None:
            return value
        other = measured[self.than][self.measure]
        return value / other if self.ratio else value - other

    def holds(self, value: float) -> bool:
        """Say whether a value is within the limits."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


class _Keys(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    question: str = ""
    variants: dict[str, dict[str, Any]] = {}
    grid: dict[str, list[Any]] = {}
    expect: tuple[Expectation, ...] = ()
    seeds: int = Field(default=1, ge=1)


class Study(_Keys):
    """A file's question. points: label -> the scenario's values; seeds: how many, from the scenario's own."""

    name: str
    points: dict[str, dict[str, Any]]


def read(path: Path, flags: Mapping[str, Any]) -> Study:
    """Read the question of a scenario file.

    Args:
        path: of the file.
        flags: values that take precedence over those of every point.

    Raises:
        ConfigError: everything that is wrong with any point, or with an expectation, in one line.
    """
    values = read_toml(path)
    keys = checked(_Keys, {k: v for k, v in values.items() if k in scenarios.QUESTION}, str(path))
    base = scenarios.current({k: v for k, v in values.items() if k not in scenarios.QUESTION}, str(path))
    points = _points(path, keys, base, flags)
    if problems := [*_impossible(points), *_unknown(keys.expect, points)]:
        raise ConfigError(" | ".join(f"{path}{problem}" for problem in problems))
    return Study(**keys.model_dump(), name=path.stem, points=points)


def _points(path: Path, keys: _Keys, base: Mapping[str, Any], flags: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Combine every variant with the whole grid: label -> the scenario's values."""
    points: dict[str, dict[str, Any]] = {}
    for variant, changes in (keys.variants or {"": {}}).items():
        for combination in product(*keys.grid.values()):
            chosen = dict(zip(keys.grid, combination, strict=True))
            layers = [scenarios.current(layer, str(path)) for layer in (changes, _nested(chosen), flags)]
            label = ", ".join([*([variant] if variant else []), *(f"{k}={v}" for k, v in chosen.items())])
            points[label or path.stem] = reduce(merged, layers, dict(base))
    return points


def _impossible(points: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say what is wrong with scenarios, once for all points that share it."""
    problems: dict[str, list[str]] = {}
    for label, point in points.items():
        try:
            scenarios.validated(point, "scenario")
        except ConfigError as reason:
            problems.setdefault(str(reason), []).append(label)
    for problem, labels in problems.items():
        where = "" if len(labels) == len(points) else f" ({'; '.join(labels)})"
        yield f"{where}: {problem}"


def _unknown(expectations: Sequence[Expectation], points: Collection[str]) -> Iterator[str]:
    """Say which labels of expectations are those of no point."""
    for number, one in enumerate(expectations):
        for label in (one.of, one.than):
            if label is not None and label not in points:
                yield f": expect[{number}]: there is no '{label}'; there are: {'; '.join(points)}"


def measures(results: list[Result]) -> dict[str, float]:
    """Return the means over the seeds of everything that an expectation can be about."""
    lines = [r.summary() for r in results]
    by_seed = {
        "mean_accuracy": [line.mean_accuracy for line in lines],
        "worst_accuracy": [line.worst_accuracy for line in lines],
        "mean_accuracy_own": [line.mean_accuracy_own for line in lines],
        "payload_bytes_per_device": [line.payload_bytes_per_device for line in lines],
        "virtual_seconds": [r.virtual_seconds or 0.0 for r in results],
        "rounds": [float(len(r.rounds)) for r in results],
    }
    return {key: sum(values) / len(values) for key, values in by_seed.items()}


def scenario(point: Mapping[str, Any], seed: int) -> Scenario:
    """Build a point's scenario, with a seed that is `seed` after its own."""
    first = Scenario(**point)
    return first.model_copy(update={"seed": first.seed + seed})


def _nested(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted keys into tables.

    >>> _nested({"settings.isolated.local_steps": 5})
    {'settings': {'isolated': {'local_steps': 5}}}
    """
    tables: dict[str, Any] = {}
    for key, value in dotted.items():
        *path, last = key.split(".")
        at = tables
        for part in path:
            at = at.setdefault(part, {})
        at[last] = value
    return tables
