"""How figures are taken and compared: in turns, after a warm-up, as medians, with intervals by the bootstrap.

An interval is between percentiles of a statistic over RESAMPLED resamples of what was measured (Efron 1979), drawn by a
fixed seed, so that the same measurements give the same interval.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

BURST = 10
RESAMPLED = 2000
LEVEL = 0.95


def in_turns(steps: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Seconds that each call took, in turns of BURST after a warm-up of as many, for about `seconds` in all.

    So a noisy neighbour slows all alike.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(BURST):
            step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, step in steps.items():
            for _ in range(BURST):
                start = time.perf_counter()
                step()
                times[name].append(time.perf_counter() - start)
    return times


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """In which the median lies, at that level; the value itself if there is but one."""
    return _percentiles(_medians(values, 0), level)


def ratio_interval(values: Sequence[float], others: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """In which median(values) / median(others) lies, at that level."""
    below = _medians(others, 1)
    return _percentiles(_medians(values, 0) / np.where(below == 0, np.nan, below), level)


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Of the medians; not a number where the second is 0."""
    below = median(others)
    return median(values) / below if below else float("nan")


def _medians(values: Sequence[float], stream: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    random = np.random.default_rng([RESAMPLED, stream])
    measured = np.asarray(values, np.float64)
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = np.median(
        measured[random.integers(0, len(measured), (RESAMPLED, len(measured)))], axis=1
    )
    return found


def _percentiles(found: np.ndarray[tuple[int], np.dtype[np.float64]], level: float) -> tuple[float, float]:
    low, high = np.nanpercentile(found, [50 * (1 - level), 50 * (1 + level)]) if np.isfinite(found).any() else found[:2]
    return float(low), float(high)
