"""A field test's metrics as a scenario's clock: how long each device computed in each round, and when it was away.

The folder is what `firmware_scripts.field collect` left: a folder a device, whose rows tell `seconds` and
`wait_seconds` of each round. A device computes in a round of the replay for as long as it did in the field; of a
round it has no row of, as long as it usually did; and before a round that it jumped to, as long as the fleet took for
those it left out. So the same field test can be had with another protocol, another coding, or other links.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median

from edge.errors import ConfigError
from edge.storage import metrics_log


@dataclass
class Pace:
    """One device's: seconds of computing by round, and what it takes where nothing is known."""

    rounds: Mapping[int, float]
    usual: float
    _begun: set[int] = field(default_factory=set)
    _work: int = 0
    _seconds: float = 0.0

    def seconds(self, number: int, work: int) -> float:
        """In all, now that round `number` is open and its engine has had so many calls."""
        if work > self._work:
            self._work = work
            if number not in self._begun:
                self._begun.add(number)
                self._seconds += self.rounds.get(number, self.usual)
        return self._seconds


def read(folder: Path) -> list[Pace]:
    """Of every device, in the order of their names. Raises ConfigError: no such folder, or nothing in it."""
    if not folder.is_dir():
        raise ConfigError(f"replay: there is no folder {folder}; collect one with firmware_scripts.field collect")
    kept = [metrics_log.read(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    tables = [_busy(rows) for rows in kept if rows]
    if len(tables) < 2:
        raise ConfigError(f"replay: {folder} has rows of {len(tables)} devices; it takes two at least")
    usual = [median(busy.values()) for busy in tables]
    everybody = {
        number: median(busy[number] for busy in tables if number in busy) for number in sorted(set().union(*tables))
    }
    return [Pace(_with_gaps(busy, everybody), own) for busy, own in zip(tables, usual, strict=True)]


def _busy(rows: list[dict[str, float]]) -> dict[int, float]:
    """By round; one that was done again after a power cut, as it was in the end."""
    return {
        int(row["round"]): max(0.0, row.get("seconds", 0.0) - row.get("wait_seconds", 0.0))
        for row in rows
        if "round" in row
    }


def _with_gaps(busy: Mapping[int, float], everybody: Mapping[int, float]) -> dict[int, float]:
    """What a device left out, it was away for: the round after the last it did begins that much later."""
    filled = dict(busy)
    done = sorted(busy)
    for last, next_one in pairwise(done):
        if next_one > last + 1:
            away = sum(seconds for number, seconds in everybody.items() if last < number < next_one)
            filled[last + 1] = away + busy[next_one]
    return filled
