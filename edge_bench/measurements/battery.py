"""Many data sets, splits and graphs with default settings only, against averaging of weights at its best.

Settings are those that a user gets who sets none. Only the learning rate of D-PSGD and FedAvg is chosen, from RATES, on
rows of the training part that are held out for that in the first seed; the test part is looked at once a run. Every run
is kept in a folder, by what it depends on, so that an interrupted battery goes on where it was.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pydantic import BaseModel

from edge import data, plugins
from edge.algorithm import load
from edge.errors import ConfigError
from edge.source import Dataset
from edge.storage import atomic
from edge_bench.collection import available
from edge_bench.partition import Files, digest, write
from edge_report.finding import Finding, Progress, mean
from edge_sim import jobs
from edge_sim.jobs import Job

RATES = (0.03, 0.1, 0.3)
SHARES: dict[str, tuple[str, dict[str, Any]]] = {
    "isolated": ("isolated", {}),
    "paper": ("d-distillation", {"weighting": "none", "loss": "squared-error"}),
    "default": ("d-distillation", {}),
    "multi-headed": ("multi-headed-distillation", {}),
    "d-psgd": ("d-psgd", {}),
    "fedavg": ("fedavg", {}),
    "labels": ("reference-labels", {}),
}
"""column -> protocol, and what is set; "labels" is told the labels of the reference set"""
OURS = ("default", "multi-headed")
TUNED = ("d-psgd", "fedavg")
ALIKE = ("isolated", "fedavg", "labels")
"""columns that a topology changes nothing about"""
POINTS = (1, 3, 5)


class Outcome(BaseModel):
    """One run."""

    mean: float
    worst: float
    payload_bytes: float
    parameters: int


class BatteryRow(BaseModel):
    """A data set, split and topology. Accuracies of all classes by column and seed; `worst` of the worst device.

    rates: chosen, by column. gap: of the default to the better of TUNED, mean over seeds. reach: bytes of D-PSGD over
    the default's.
    """

    data: str
    split: str
    topology: str
    accuracy: dict[str, list[float]]
    worst: dict[str, list[float]]
    rates: dict[str, float]
    reach: float

    def mean(self, column: str) -> float:
        """Over the seeds."""
        return mean(self.accuracy[column])

    @property
    def gaps(self) -> list[float]:
        """By seed: the better of TUNED, as its mean says, less the default."""
        best = max(TUNED, key=self.mean)
        return [a - b for a, b in zip(self.accuracy[best], self.accuracy["default"], strict=True)]

    @property
    def gap(self) -> float:
        """Mean over the seeds."""
        return mean(self.gaps)

    @property
    def skewed(self) -> bool:
        """Whether devices differ in their classes."""
        return self.split.startswith(("classes", "dirichlet"))


class GapSummary(BaseModel):
    """Over all rows.

    gap_interval: 95 % of the medians of the gaps, resampled over seeds and rows together. within: points -> share of
    the rows whose gap is at most that. over_paper: median of the default less the paper's update in skewed rows.
    """

    rows: int
    median_gap: float
    worst_gap: float
    gap_interval: tuple[float, float]
    within: dict[int, float]
    below_isolated: int
    over_paper: float
    least_reach: float


class Battery(Finding):
    """All rows, those with the largest gap first."""

    command: str = "battery"
    seeds: list[int]
    rounds: int
    model: str
    settings: dict[str, Any]
    rows: list[BatteryRow]
    left_out: dict[str, str]
    summary: GapSummary


@dataclass(frozen=True)
class BatteryPlan:
    """What is run.

    Attributes:
        sources: name -> a source of `edge.data`, and its `holdout`.
        splits: settings of `split`, or "classes:N%", or "by" for every column that has enough values.
        settings: of the default, changed for all rows.
    """

    sources: dict[str, tuple[str, str | None]]
    splits: tuple[str, ...]
    topologies: tuple[str, ...]
    columns: tuple[str, ...]
    seeds: tuple[int, ...]
    devices: int
    rounds: int
    model: str
    settings: dict[str, Any]


def settable() -> set[str]:
    """Name the settings of OURS."""
    return {name for column in OURS for name in _names(SHARES[column][0])}


def _names(protocol: str) -> set[str]:
    return {field.name for field in fields(load(protocol, {}, "").settings)}


def prepared(names: Sequence[str], folder: Path, data_dir: Path | None) -> dict[str, tuple[str, str | None]]:
    """Make the data sets, each an archive in `folder`.

    Args:
        names: of `edge_bench.collection`, or sources such as npz:PATH; all of the collection if empty.
        folder: for archives.
        data_dir: of files that the collection reads.

    Returns:
        name -> (source, holdout).

    Raises:
        ConfigError: neither.
    """
    known = available(data_dir)
    sources: dict[str, tuple[str, str | None]] = {}
    for name in names or known:
        if ":" in name:
            path = data.path(name)
            sources[path.stem if path else name] = (name, None)
        elif name not in known:
            raise ConfigError(f"--sets {name}: no such set; there are {', '.join(known)}, and any source as npz:PATH")
        else:
            path = folder / f"{name}.npz"
            table = known[name]() if not path.exists() else None
            if table is not None:
                arrays: dict[str, Any] = {**table.columns, "x": table.x, "y": table.y}
                np.savez_compressed(path.with_suffix(".part.npz"), **arrays)
                path.with_suffix(".part.npz").rename(path)
                atomic.write_text(path.with_suffix(".holdout"), table.holdout)
            sources[name] = (f"npz:{path}", path.with_suffix(".holdout").read_text())
    return sources


def run(plan: BatteryPlan, folder: Path, workers: int, progress: Progress) -> Battery:
    """Run a battery, or the rest of one.

    Args:
        plan: what.
        folder: for runs and files; what is there already is not run again.
        workers: processes.
        progress: called after each run.

    Raises:
        ConfigError: nothing that can be run.
    """
    plugins.add_file(Path(__file__).parents[1] / "reference_labels.py")
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    left_out: dict[str, str] = {}
    grid = [cell for name in plan.sources for cell in cells(plan, name, folder, left_out)]
    if not grid:
        raise ConfigError(f"nothing can be run: {'; '.join(f'{k}: {v}' for k, v in left_out.items())}")
    tuning = {(cell.row, c, rate): cell.job(c, plan, rate, tune=True) for cell in grid for c in _tuned(plan)
              for rate in RATES if cell.seed == plan.seeds[0]}  # fmt: skip
    total = len(tuning) + len(grid) * len(plan.columns)
    tuned = _outcomes(list(tuning.values()), folder, workers, progress, 0, total)
    rates: dict[tuple[tuple[str, str, str], str], float] = {}
    for (row, column, rate), job in tuning.items():
        best = rates.get((row, column))
        if best is None or tuned[job.name].mean > tuned[tuning[row, column, best].name].mean:
            rates[row, column] = rate
    todo = {(cell, c): cell.job(c, plan, rates.get((cell.row, c))) for cell in grid for c in plan.columns}
    outcomes = _outcomes(list(todo.values()), folder, workers, progress, len(tuning), total)
    by_row: dict[tuple[str, str, str], dict[str, list[Outcome]]] = {}
    for (cell, column), job in todo.items():
        by_row.setdefault(cell.row, {}).setdefault(column, []).append(outcomes[job.name])
    rows = sorted((_row(key, columns, rates) for key, columns in by_row.items()), key=lambda row: -row.gap)
    return Battery(
        seeds=list(plan.seeds),
        rounds=plan.rounds,
        model=plan.model,
        settings=plan.settings,
        rows=rows,
        left_out=left_out,
        summary=summarized(rows),
    )


@dataclass(frozen=True)
class Cell:
    """A data set, split, topology and seed."""

    row: tuple[str, str, str]
    seed: int
    files: Files

    def job(self, column: str, plan: BatteryPlan, rate: float | None = None, *, tune: bool = False) -> Job:
        """The run of a column. Its name is a digest of all that it depends on."""
        protocol, settings = SHARES[column]
        _, split, topology = self.row
        settings = {**settings, **({} if rate is None else {"learning_rate": rate})}
        if column in OURS:
            settings |= {key: value for key, value in plan.settings.items() if key in _names(protocol)}
        if column == "labels":
            settings["labels"] = str(self.files.labels)
        scenario = {
            "devices": plan.devices,
            "topology": "complete" if column in ALIKE else topology,
            "split": split,
            "data": f"npz:{self.files.validation if tune else self.files.private}",
            "reference": f"npz:{self.files.reference}",
            "model": plan.model,
            "rounds": plan.rounds,
            "evaluate_every": plan.rounds,
            "protocol": protocol,
            "settings": {protocol: settings},
        }
        used = {str(path): digest(path) for path in vars(self.files).values()}
        key = json.dumps([scenario, self.seed, used], sort_keys=True)
        return Job(sha256(key.encode()).hexdigest()[:16], self.seed, scenario)


def summarized(rows: Sequence[BatteryRow]) -> GapSummary:
    """Summarise rows."""
    gaps = [row.gap for row in rows]
    random = np.random.default_rng(0)
    medians = []
    for _ in range(1000):
        drawn = [rows[i].gaps for i in random.integers(0, len(rows), len(rows))]
        medians.append(median(float(np.mean(random.choice(seeds, len(seeds)))) for seeds in drawn))
    low, high = np.percentile(medians, [2.5, 97.5])
    over = [r.mean("default") - r.mean("paper") for r in rows if r.skewed and "paper" in r.accuracy]
    return GapSummary(
        rows=len(rows),
        median_gap=median(gaps),
        worst_gap=max(gaps),
        gap_interval=(float(low), float(high)),
        within={p: float(np.mean([gap <= p / 100 for gap in gaps])) for p in POINTS},
        below_isolated=sum(r.mean("default") < r.mean("isolated") for r in rows if "isolated" in r.accuracy),
        over_paper=median(over) if over else float("nan"),
        least_reach=min(row.reach for row in rows),
    )


def _tuned(plan: BatteryPlan) -> list[str]:
    return [column for column in plan.columns if column in TUNED]


def cells(plan: BatteryPlan, name: str, folder: Path, left_out: dict[str, str]) -> Iterator[Cell]:
    """All cells of a data set; why there are none of a split goes into `left_out`."""
    source, holdout = plan.sources[name]
    splits: list[str] = []
    for seed in plan.seeds:
        whole = data.load(source, seed, holdout=holdout)
        splits = splits or list(_splits(plan, name, whole, left_out))
        files = write(whole, folder / f"{name}-{seed}", seed)
        yield from (Cell((name, split, topology), seed, files) for split in splits for topology in plan.topologies)


def _splits(plan: BatteryPlan, name: str, whole: Dataset, left_out: dict[str, str]) -> Iterator[str]:
    """The splits that are possible for a data set."""
    for split in plan.splits:
        kind, _, argument = split.partition(":")
        if split == "by":
            enough = [c for c, v in whole.columns.items() if len(np.unique(v)) >= plan.devices]
            yield from (f"by:{column}" for column in enough)
        elif kind == "classes" and argument.endswith("%"):
            count = max(2, round(whole.classes * float(argument[:-1]) / 100))
            if count < whole.classes:
                yield f"classes:{count}"
            else:
                left_out[f"{name}, {split}"] = f"there are only {whole.classes} classes"
        else:
            yield split


def _outcomes(
    todo: Sequence[Job], folder: Path, workers: int, progress: Progress, done: int, total: int
) -> dict[str, Outcome]:
    """Run what has not been run yet; name -> outcome."""
    unique = {job.name: job for job in todo}
    outcomes = {}
    for name in unique:
        path = folder / "runs" / f"{name}.json"
        if path.exists():
            outcomes[name] = Outcome.model_validate_json(path.read_text())
    missing = [job for name, job in unique.items() if name not in outcomes]
    for number, outcome in enumerate(jobs.perform_all(missing, workers), start=1):
        result = outcome.result
        summary = result.summary()
        outcomes[outcome.job.name] = Outcome(
            mean=summary.mean_accuracy,
            worst=summary.worst_accuracy,
            payload_bytes=summary.payload_bytes_per_device,
            parameters=result.parameters,
        )
        text = outcomes[outcome.job.name].model_dump_json()
        atomic.write_text(folder / "runs" / f"{outcome.job.name}.json", text)
        progress(done + len(unique) - len(missing) + number, total, outcome.job.scenario["protocol"])
    return outcomes


def _row(
    key: tuple[str, str, str], columns: dict[str, list[Outcome]], rates: dict[tuple[tuple[str, str, str], str], float]
) -> BatteryRow:
    name, split, topology = key
    ours = mean([o.payload_bytes for o in columns["default"]])
    theirs = mean([o.payload_bytes for o in columns["d-psgd"]])
    return BatteryRow(
        data=name,
        split=split,
        topology=topology,
        accuracy={column: [o.mean for o in outcomes] for column, outcomes in columns.items()},
        worst={column: [o.worst for o in outcomes] for column, outcomes in columns.items()},
        rates={column: rate for (row, column), rate in rates.items() if row == key},
        reach=theirs / ours if ours else float("inf"),
    )
