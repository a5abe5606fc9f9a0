"""Run every system's settings over the seeds, side by side, and judge its claims."""

import time
from collections.abc import Sequence

from edge import data
from edge_bench.claims import Found, Given, systems
from edge_bench.record import Report, summary
from edge_report.finding import Progress
from edge_sim import jobs


def given(source: str, rows: int | None) -> Given:
    """What the settings need to know of the data. Raises ConfigError or DataError."""
    found = data.load(source, 0)
    n, shape = len(found.y_train), found.x_train.shape[1:]
    few = rows if rows is not None and rows < n else None
    return Given(source, found.classes, tuple(found.columns), n, few, shape)


def reproduce(
    source: str,
    seeds: Sequence[int],
    *,
    names: Sequence[str] = (),
    rows: int | None = None,
    workers: int = 1,
    progress: Progress = lambda *_: None,
) -> Report:
    """The table of `names`, or of all systems.

    rows: at most so many of the data; streams read all.
    progress: called with (jobs done, jobs in all, what was finished).
    Raises ConfigError, DataError, before anything runs.
    """
    started = time.monotonic()
    about = given(source, rows)
    chosen = systems(about, names)
    todo = [
        jobs.Job(f"{system.name}: {name}", seed, setting.scenario, setting.observe)
        for system in chosen
        for name, setting in system.settings.items()
        for seed in seeds
    ]
    outcomes: dict[tuple[str, int], jobs.Outcome] = {}
    for done, outcome in enumerate(jobs.perform_all(todo, workers), start=1):
        outcomes[outcome.job.name, outcome.job.seed] = outcome
        progress(done, len(todo), outcome.job.name)
    table, runs = [], []
    for system in chosen:
        found = Found(about)
        for name, setting in system.settings.items():
            found.outcomes[name] = [outcomes[f"{system.name}: {name}", seed] for seed in seeds]
            runs.append(summary(system.name, name, found.results(name), setting.plotted))
        table += system.judge(found)
    return Report(
        data=source if about.rows is None else f"{source}, {about.rows} rows",
        seeds=list(seeds),
        rows=table,
        runs=runs,
        seconds=time.monotonic() - started,
    )
