"""How figures are taken and compared: in turns, after a warm-up, as medians, with bootstrap intervals.

An interval lies between percentiles of a statistic over RESAMPLED resamples of the measurements (Efron 1979), drawn
from a fixed seed, so that the same measurements give the same interval.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import numpy as np

BURST = 10
RESAMPLED = 2000
LEVEL = 0.95


def in_turns(steps: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, list[float]]:
    """Time calls in turns of BURST, so that a noisy neighbour slows all alike, after a warm-up of as many.

    Args:
        steps: what is called, by name.
        seconds: about how long in all.

    Returns:
        The seconds that each call took, by name.
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
    """Return the interval of the median at a level of confidence; the value itself, twice, if there is only one.

    >>> interval([3.0])
    (3.0, 3.0)
    """
    return _percentiles(_medians(values, 0), level)


def ratio_interval(values: Sequence[float], others: Sequence[float], level: float = LEVEL) -> tuple[float, float]:
    """Return the interval of median(values) / median(others) at a level of confidence."""
    below = _medians(others, 1)
    return _percentiles(_medians(values, 0) / np.where(below == 0, np.nan, below), level)


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Return the ratio of the medians; not a number where the second is 0.

    >>> ratio([6.0, 8.0], [2.0])
    3.5
    """
    below = median(others)
    return median(values) / below if below else float("nan")


def _medians(values: Sequence[float], stream: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    random = np.random.default_rng([RESAMPLED, stream])
    measured = np.asarray(values, np.float64)
    medians: np.ndarray[tuple[int], np.dtype[np.float64]] = np.median(
        measured[random.integers(0, len(measured), (RESAMPLED, len(measured)))], axis=1
    )
    return medians


def _percentiles(medians: np.ndarray[tuple[int], np.dtype[np.float64]], level: float) -> tuple[float, float]:
    low, high = (
        np.nanpercentile(medians, [50 * (1 - level), 50 * (1 + level)]) if np.isfinite(medians).any() else medians[:2]
    )
    return float(low), float(high)
