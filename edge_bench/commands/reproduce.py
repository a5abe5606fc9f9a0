"""`edge-bench reproduce [SYSTEM ...]`: every system's settings over the seeds, side by side, and its claims checked."""

import argparse
import time
from collections.abc import Sequence
from functools import partial

import numpy as np
from pydantic import BaseModel

from edge import data
from edge_bench import claims, flags
from edge_bench.claims import ClaimData, ClaimRow, Outcomes, Setting
from edge_report import figures
from edge_report.document import Section
from edge_report.figures import Point
from edge_report.finding import Finding, Progress, mean
from edge_report.flags import add_count
from edge_report.specs import CommandSpec
from edge_sim import jobs
from edge_sim.result import Result


class ClaimRun(BaseModel):
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


class ClaimReport(Finding):
    """A table of claims, and the runs it was read from."""

    command: str = "reproduce"
    data: str
    seeds: list[int]
    rows: list[ClaimRow]
    runs: list[ClaimRun]
    seconds: float


def arguments(parser: argparse.ArgumentParser) -> None:
    """See `CommandSpec.arguments`."""
    known = ", ".join(claims.SYSTEMS.names())
    flags.add_seeds(parser, "0,1,2")
    add_count(parser, "--rows", 4000, "use at most so many rows of the data; streams read all")
    parser.add_argument("systems", nargs="*", metavar="SYSTEM", help=f"one of: {known} (default: all)")


def run(args: argparse.Namespace, progress: Progress) -> ClaimReport:
    """See `CommandSpec.run`."""
    return reproduce(
        args.data,
        args.seeds,
        names=args.systems,
        rows=args.rows,
        holdout=args.holdout,
        workers=args.workers,
        progress=progress,
    )


def reproduce(
    source: str,
    seeds: Sequence[int],
    *,
    names: Sequence[str] = (),
    rows: int | None = None,
    holdout: str | None = None,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> ClaimReport:
    """Emulate the settings of some systems, and check their claims.

    Args:
        source: data set, as of a scenario's key `data`.
        seeds: one emulation of every setting for each.
        names: of systems; all if empty.
        rows: at most so many of the data; streams read all.
        holdout: which rows are for testing, as of a scenario's key `holdout`.
        workers: processes at a time.
        progress: called with the emulations done, those in all, and the name of the last.

    Returns:
        The table of claims.

    Raises:
        ConfigError: an unknown system; before anything runs.
        DataError: data that cannot be read; before anything runs.
    """
    started = time.monotonic()
    about = described(source, rows, holdout)
    systems = claims.systems(names)
    settings = {name: system.settings(about) for name, system in systems.items()}
    todo = [
        jobs.Job(f"{system}: {name}", seed, setting.scenario, setting.observe)
        for system, named in settings.items()
        for name, setting in named.items()
        for seed in seeds
    ]
    outcomes: dict[tuple[str, int], jobs.JobOutcome] = {}
    for done, outcome in enumerate(jobs.perform_all(todo, workers), start=1):
        outcomes[outcome.job.name, outcome.job.seed] = outcome
        progress(done, len(todo), outcome.job.name)
    table, runs = [], []
    for system, named in settings.items():
        by_setting = {name: [outcomes[f"{system}: {name}", seed] for seed in seeds] for name in named}
        runs += [_run(system, name, setting, by_setting[name]) for name, setting in named.items()]
        table += systems[system].judge(Outcomes(about, by_setting))
    few = [f"{about.rows} rows"] if about.rows else []
    held = [f"held out {holdout}"] if holdout else []
    return ClaimReport(
        data=", ".join([source, *few, *held]),
        seeds=list(seeds),
        rows=table,
        runs=runs,
        seconds=time.monotonic() - started,
    )


def described(source: str, rows: int | None, holdout: str | None = None) -> ClaimData:
    """Load a data set to see what the settings need to know of it. Raises ConfigError or DataError."""
    dataset = data.load(source, 0, holdout=holdout)
    n, shape = len(dataset.y_train), dataset.x_train.shape[1:]
    few = rows if rows is not None and rows < n else None
    users = len(np.unique(dataset.columns["user"])) if "user" in dataset.columns else 0
    return ClaimData(source, dataset.classes, tuple(dataset.columns), n, few, shape, users, holdout)


def _run(system: str, name: str, setting: Setting, outcomes: Sequence[jobs.JobOutcome]) -> ClaimRun:
    results: list[Result] = [outcome.result for outcome in outcomes]
    lines = [result.summary() for result in results]
    return ClaimRun(
        system=system,
        name=name,
        protocol=results[0].protocol,
        mean_accuracy=[x.mean_accuracy for x in lines],
        worst_accuracy=[x.worst_accuracy for x in lines],
        own_accuracy=[x.mean_accuracy_own for x in lines],
        payload_bytes_per_device=[x.payload_bytes_per_device for x in lines],
        seconds=[x.seconds for x in lines],
        plotted=setting.plotted,
    )


def sections(report: ClaimReport) -> list[Section]:
    """Show the claims, and a picture for every system."""
    failed = [row.claim for row in report.rows if row.verdict == "fails"]
    hold = len(report.rows) - len(failed)
    exceptions = f"; not here: {', '.join(failed)}" if failed else ""
    table = Section(
        "claims",
        f"Claims on {report.data}, seeds {', '.join(map(str, report.seeds))}",
        columns=("claim", "", "statement and figures"),
        rows=[(r.claim, r.verdict, f"{r.statement}\npaper: {r.paper}\nours: {r.ours}") for r in report.rows],
        words=3,
        strong=frozenset(i for i, row in enumerate(report.rows) if row.verdict == "fails"),
        after=f"{hold} of {len(report.rows)} claims hold{exceptions}. {report.seconds:.0f} s.",
    )
    pictures = []
    for system in dict.fromkeys(run.system for run in report.runs):
        points = [_point(run) for run in report.runs if run.system == system and run.plotted]
        if points:
            title = f"{system} on {flags.short(report.data)}"
            pictures.append(Section(system, title, picture=partial(figures.accuracy_by_payload, points)))
    return [table, *pictures]


def _point(run: ClaimRun) -> Point:
    accuracies = run.mean_accuracy
    payload = mean(run.payload_bytes_per_device)
    return Point(run.name, payload, mean(accuracies), min(accuracies), max(accuracies))


SPEC = CommandSpec(
    text="Check the claims of the papers.",
    finding=ClaimReport,
    arguments=arguments,
    run=run,
    sections=sections,
)
