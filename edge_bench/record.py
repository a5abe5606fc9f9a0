"""What an `edge-bench` command leaves behind. The names are those of the JSON files and stay."""

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from edge import plugins
from edge.errors import ConfigError
from edge_report.finding import Finding, loaded
from edge_sim.result import Result

Verdict = Literal["holds", "fails"]


def read(path: Path) -> Finding:
    """A finding that was written as JSON. Raises ConfigError: not there, or not that."""
    return parsed(loaded(path), str(path))


def parsed(found: object, path: str) -> Finding:
    """A finding of the command that it names. path: where it is from, for errors."""
    name = found.get("command") if isinstance(found, dict) else None
    if not isinstance(name, str) or name not in plugins.names("edge_bench.commands"):
        raise ConfigError(f"{path} does not say which edge-bench command wrote it (its key 'command' is {name!r})")
    kind: type[Finding] = plugins.load("edge_bench.commands", name).FINDING
    try:
        return kind.model_validate(found)
    except ValidationError as reason:
        first = reason.errors()[0]
        where = "/".join(map(str, first["loc"]))
        raise ConfigError(f"{path}: {where}: {first['msg']}; expected what edge-bench {name} writes now") from None


class Run(BaseModel):
    """One setting over all seeds, a list entry each. Accuracies as in `edge_sim.result`."""

    system: str
    name: str
    protocol: str
    mean_accuracy: list[float]
    worst_accuracy: list[float]
    own_accuracy: list[float]
    payload_bytes_per_device: list[float]
    seconds: list[float]
    plotted: bool = True


class Row(BaseModel):
    """One claim. figures: what the verdict was read from, by name."""

    claim: str
    statement: str
    paper: str
    ours: str
    verdict: Verdict
    figures: dict[str, float | list[float]] = {}


class Report(Finding):
    """A table of claims, and the runs it was read from."""

    command: str = "reproduce"
    data: str
    seeds: list[int]
    rows: list[Row]
    runs: list[Run]
    seconds: float


def summary(system: str, name: str, results: list[Result], plotted: bool = True) -> Run:
    """The same setting over the seeds."""
    lines = [r.summary() for r in results]
    return Run(
        system=system,
        name=name,
        protocol=results[0].protocol,
        mean_accuracy=[x.mean_accuracy for x in lines],
        worst_accuracy=[x.worst_accuracy for x in lines],
        own_accuracy=[x.mean_accuracy_own for x in lines],
        payload_bytes_per_device=[x.payload_bytes_per_device for x in lines],
        seconds=[x.seconds for x in lines],
        plotted=plotted,
    )
