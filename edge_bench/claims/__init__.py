"""Claims of the papers, one system a file, named as the system. A file has a `SPEC` (`SystemSpec`).

Every threshold stands in a statement that was written before anything was measured, and stays.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.dataclasses import dataclass as checked_dataclass

from edge.plugins import Family
from edge.specs import CHECKED
from edge_report.finding import mean
from edge_sim.jobs import JobOutcome
from edge_sim.result import Result

Verdict = Literal["holds", "fails"]


@dataclass(frozen=True)
class ClaimData:
    """The data that claims are checked on.

    Attributes:
        source: as of a scenario's key `data`.
        classes: K.
        columns: further arrays of the training rows, e.g. "user".
        size: rows of the training part.
        rows: how many of them are used, but for streams; all if absent.
        shape: of a sample.
        users: how many different ones the column "user" of the training rows has.
        holdout: which rows are for testing, as of a scenario's key.
    """

    source: str
    classes: int
    columns: tuple[str, ...] = ()
    size: int = 0
    rows: int | None = None
    shape: tuple[int, ...] = ()
    users: int = 0
    holdout: str | None = None

    @property
    def scenario(self) -> dict[str, Any]:
        """The keys of a scenario on this data."""
        return {"data": self.source, "rows": self.rows, "holdout": self.holdout}

    def some(self, share: float) -> int:
        """Return how many classes that share is, 2 at least.

        >>> ClaimData("digits", 10).some(0.4)
        4
        """
        return max(2, round(share * self.classes))


@dataclass(frozen=True)
class Setting:
    """One emulation, but for its seed.

    Attributes:
        scenario: its keys (`edge_sim.scenario.Scenario`).
        observe: what to look at after each round (`edge_sim.jobs.OBSERVERS`).
        plotted: whether its accuracy is one to compare.
    """

    scenario: dict[str, Any]
    observe: tuple[str, ...] = ()
    plotted: bool = True


@dataclass
class Outcomes:
    """The outcomes of a system's settings, by name and in the order of seeds."""

    data: ClaimData
    by_setting: dict[str, list[JobOutcome]] = field(default_factory=dict)

    def results(self, name: str) -> list[Result]:
        """Return the results of one setting, by seed."""
        return [outcome.result for outcome in self.by_setting[name]]

    def each(self, name: str, read: Callable[[Result], float]) -> list[float]:
        """Read a figure from every result of one setting."""
        return [read(result) for result in self.results(name)]

    def accuracy(self, name: str) -> list[float]:
        """Return the mean accuracy of the devices on the global distribution, by seed."""
        return self.each(name, lambda r: r.mean_accuracy)

    def worst(self, name: str) -> list[float]:
        """Return the accuracy of the worst device, by seed."""
        return self.each(name, lambda r: r.worst_accuracy)

    def own(self, name: str) -> list[float]:
        """Return the mean accuracy of the devices, each on its own distribution, by seed."""
        return self.each(name, lambda r: r.summary().mean_accuracy_own)

    def payload(self, name: str) -> float:
        """Return the payload bytes of a device, its share of the centre's included; the mean over the seeds."""
        return mean(self.each(name, lambda r: r.summary().payload_bytes_per_device))

    def head(self, name: str, head: int, which: int) -> list[float]:
        """Return a head's mean accuracy, by seed; which: 0 on the global distribution, 1 on the device's own."""
        return self.each(name, lambda r: mean([d.accuracy_by_head[head][which] for d in r.devices]))


class ClaimRow(BaseModel):
    """One claim, checked.

    Attributes:
        claim: its number.
        statement: what is checked, threshold included.
        paper: what the paper says.
        ours: what was measured, in words.
        verdict: whether the statement holds.
        figures: what the verdict was read from, by name.
    """

    claim: str
    statement: str
    paper: str
    ours: str
    verdict: Verdict
    figures: dict[str, float | list[float]] = {}


@checked_dataclass(frozen=True, kw_only=True, config=CHECKED)
class SystemSpec:
    """A system, and what its paper claims.

    Args:
        title: of the paper.
        settings: what to emulate on some data, once for every seed, by name.
        judge: the rows of the table, read from the outcomes.
    """

    title: str
    settings: Callable[[ClaimData], dict[str, Setting]]
    judge: Callable[[Outcomes], list[ClaimRow]]


SYSTEMS = Family("edge_bench.claims", SystemSpec, "claim")


def systems(names: Sequence[str] = ()) -> dict[str, SystemSpec]:
    """Return the systems of these names, or all. Raises ConfigError: there is none of that name."""
    return {name: SYSTEMS.load(name) for name in names or SYSTEMS.names()}


def row(claim: str, statement: str, paper: str, ours: str, holds: bool, **figures: float | list[float]) -> ClaimRow:
    """Make one line of the table."""
    verdict: Verdict = "holds" if holds else "fails"
    return ClaimRow(claim=claim, statement=statement, paper=paper, ours=ours, verdict=verdict, figures=figures)
