"""Emulations in processes of their own, side by side: the same figures as one after the other."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edge.protocols import flatten
from edge_sim import meter
from edge_sim.fleet import EmulatedNode
from edge_sim.result import Result
from edge_sim.run import Frame, run
from edge_sim.scenario import Scenario

Observe = Callable[[Frame], float]


def _devices(frame: Frame) -> list[EmulatedNode]:
    """Return the devices that are in this process, where they can be inspected."""
    return [node for node in frame.devices if isinstance(node, EmulatedNode)]


def divergence(frame: Frame) -> float:
    """Return (1/m) sum ||w_i - mean||^2 of the devices' weights (Kamp et al. 2018)."""
    rows = np.stack([flatten(d.engine.parameters())[0] for d in _devices(frame)]).astype(np.float64)
    return float(((rows - rows.mean(axis=0)) ** 2).sum(axis=1).mean())


def digest(frame: Frame) -> float:
    """Return a number that two fleets share if their weights have the same bits: a weighted sum of all weights."""
    rows = np.concatenate([flatten(d.engine.parameters())[0] for d in _devices(frame)]).astype(np.float64)
    return float(rows @ np.random.default_rng(0).standard_normal(len(rows)))


def at_the_end(read: Observe) -> Observe:
    """Observe after the last round only; 0 before."""
    return lambda frame: read(frame) if frame.latest.round == frame.rounds else 0.0


def _memory(part: str) -> Observe:
    return lambda frame: meter.memory(_devices(frame)[0])[part]


OBSERVERS: dict[str, Observe] = {
    "divergence": divergence,
    "digest": digest,
    "macs": at_the_end(lambda frame: meter.macs(_devices(frame)[0])),
    **{f"memory/{part}": at_the_end(_memory(part)) for part in meter.PARTS},
}


@dataclass(frozen=True)
class Job:
    """One emulation. name: of the setting. observe: keys of OBSERVERS, read after each round."""

    name: str
    seed: int
    scenario: dict[str, Any]
    observe: tuple[str, ...] = ()


@dataclass
class JobOutcome:
    """A job's result, and what was observed, by key, a value a round."""

    job: Job
    result: Result
    observed: dict[str, list[float]] = field(default_factory=dict)


def perform(job: Job) -> JobOutcome:
    """Run a job in this process."""
    observed: dict[str, list[float]] = {name: [] for name in job.observe}

    def watch(frame: Frame) -> None:
        for name, values in observed.items():
            values.append(OBSERVERS[name](frame))

    return JobOutcome(job, run(Scenario(**{**job.scenario, "seed": job.seed}), watch), observed)


def perform_all(jobs: Sequence[Job], workers: int) -> Iterator[JobOutcome]:
    """Run jobs, `workers` at a time in processes of their own, and yield each outcome when it is there.

    Args:
        jobs: in the order in which they start.
        workers: processes; 1 runs them all in this one.

    Yields:
        Outcomes in the order in which they end. The figures do not depend on `workers`.
    """
    if workers == 1:
        yield from map(perform, jobs)
        return
    # Forked processes would inherit the runtime's threads, which do not survive it.
    context, me = multiprocessing.get_context("spawn"), os.getpid()
    with ProcessPoolExecutor(workers, context, initializer=_end_with, initargs=(me,)) as pool:
        waiting = {pool.submit(perform, job) for job in jobs}
        try:
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _end_with(parent: int) -> None:
    """End this worker when its parent has been killed; it would wait for work for ever."""

    def watch() -> None:
        while os.getppid() == parent:
            threading.Event().wait(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
