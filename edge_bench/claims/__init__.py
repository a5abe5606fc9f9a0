"""What the papers claim, one system a file; the files' names are the systems'.

A file has

    TITLE               of the paper
    settings(given)     name -> what to emulate, once for every seed
    judge(found)        the rows of the table, read from the outcomes

Every threshold stands in a statement that was written before anything was measured, and stays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edge import plugins
from edge_bench.record import Row
from edge_report.finding import mean
from edge_sim.jobs import Outcome
from edge_sim.result import Result


@dataclass(frozen=True)
class Given:
    """The data a table is made on. shape: of a sample.

    columns: further arrays of its training rows, e.g. "user". size: of the training part. rows: how many of it are
    used, but for streams; None for all.
    """

    data: str
    classes: int
    columns: tuple[str, ...] = ()
    size: int = 0
    rows: int | None = None
    shape: tuple[int, ...] = ()

    @property
    def scenario(self) -> dict[str, Any]:
        """The keys of a scenario on this data."""
        return {"data": self.data, "rows": self.rows}

    def some(self, share: float) -> int:
        """That share of the classes, 2 at least."""
        return max(2, round(share * self.classes))


@dataclass(frozen=True)
class Setting:
    """One emulation, but for its seed."""

    scenario: dict[str, Any]
    observe: tuple[str, ...] = ()
    plotted: bool = True
    """whether its accuracy is one to compare"""


@dataclass
class Found:
    """The outcomes of a system's settings, by name and in the order of seeds."""

    given: Given
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)

    def results(self, name: str) -> list[Result]:
        """Of one setting."""
        return [o.result for o in self.outcomes[name]]

    def each(self, name: str, read: Callable[[Result], float]) -> list[float]:
        """A figure of one setting, by seed."""
        return [read(r) for r in self.results(name)]

    def accuracy(self, name: str) -> list[float]:
        """Mean over the devices, on everybody's distribution."""
        return self.each(name, lambda r: r.mean_accuracy)

    def worst(self, name: str) -> list[float]:
        """Of the worst device."""
        return self.each(name, lambda r: r.worst_accuracy)

    def own(self, name: str) -> list[float]:
        """Mean over the devices, each on its own distribution."""
        return self.each(name, lambda r: r.summary().mean_accuracy_own)

    def payload(self, name: str) -> float:
        """Bytes a device, the centre's divided among them; means over seeds."""
        return mean(self.each(name, lambda r: r.summary().payload_bytes_per_device))

    def head(self, name: str, head: int, which: int) -> list[float]:
        """Mean over the devices of a head's accuracy: which 0 on everybody's distribution, 1 on the device's own."""
        return self.each(name, lambda r: mean([d.accuracy_by_head[head][which] for d in r.devices]))


@dataclass(frozen=True)
class System:
    """A file of this folder."""

    name: str
    title: str
    settings: Mapping[str, Setting]
    judge: Callable[[Found], list[Row]]


def systems(given: Given, names: Sequence[str] = ()) -> list[System]:
    """Those asked for, or all. Raises ConfigError for an unknown name."""
    known = names or plugins.names("edge_bench.claims")
    modules = [(name, plugins.load("edge_bench.claims", name)) for name in known]
    return [System(name, module.TITLE, module.settings(given), module.judge) for name, module in modules]


def row(claim: str, statement: str, paper: str, ours: str, holds: bool, **figures: float | list[float]) -> Row:
    """One line of the table."""
    return Row(
        claim=claim, statement=statement, paper=paper, ours=ours, verdict="holds" if holds else "fails", figures=figures
    )
