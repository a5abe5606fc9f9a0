"""What a scenario may say of the world around its devices: links, partitions, boards, absences.

Devices are named by `of`, by number: "all", "0-3,7", or "25%", which the seed draws.
"""

import re
from collections.abc import Iterator, Sequence
from math import inf
from typing import ClassVar

import numpy as np
from pydantic import Field

from edge.config import Table
from edge.errors import ConfigError

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class Link(Table):
    """How messages of some devices travel. What is absent is as for everybody (the scenario's own keys)."""

    RENAMED: ClassVar = {"loss": "packet_loss"}
    of: str = "all"
    """whose messages, up to the broker and down from it"""
    to: str | None = None
    """only what they send to these; then without uplink and downlink, which are a device's"""
    uplink: float | None = Field(default=None, gt=0)
    """kbit/s from a device to the broker"""
    downlink: float | None = Field(default=None, gt=0)
    """kbit/s from the broker to a device"""
    latency: float | None = Field(default=None, ge=0)
    """seconds from sender to receiver, beside the time its bytes take"""
    jitter: float | None = Field(default=None, ge=0)
    """additional seconds, uniform from 0 to this"""
    packet_loss: float | None = Field(default=None, ge=0, lt=1)
    """fraction of the messages that never arrive"""
    duplication: float | None = Field(default=None, ge=0, lt=1)
    """fraction of the messages that arrive twice"""


class Partition(Table):
    """A time in which nothing passes from one group of devices to another; a centre is in the first group."""

    groups: tuple[str, ...] = Field(min_length=2)
    """which devices are on which side, each as `of` elsewhere"""
    at: float = Field(ge=0)
    """virtual seconds since the start"""
    seconds: float = Field(gt=0)
    """how long"""
    lost: bool = False
    """what crosses is lost; otherwise it arrives when the partition is over, as with MQTT's QoS 1"""


class On(Table):
    """Which devices are which board."""

    of: str
    """which devices: all, 0-3,7, or 25%, which the seed draws"""
    board: str
    """a name as in `board`"""


class Absence(Table):
    """Devices that are not there for a while: late joins, crashes, duty cycles, churn, departures.

    What they are told meanwhile waits at the broker for those that were there before.
    """

    of: str
    """which devices; a percentage is drawn anew each time"""
    at: float = Field(default=0.0, ge=0)
    """virtual seconds since the start; at 0 they join late"""
    seconds: float | None = Field(default=None, gt=0)
    """how long; for good if absent"""
    every: float | None = Field(default=None, gt=0)
    """seconds from one beginning to the next; once if absent"""
    asleep: bool = False
    """they keep what they have in memory; otherwise they go on after their checkpoint of the round before"""


def choose(of: str, devices: int, random: np.random.Generator) -> list[int]:
    """Numbers of the devices that `of` names, sorted. Raises ConfigError."""
    if of == "all":
        return list(range(devices))
    if of.endswith("%"):
        try:
            share = float(of[:-1])
        except ValueError:
            share = inf
        if not 0 < share <= 100:
            raise ConfigError(f"'{of}': expected a share of 0 to 100 %")
        return sorted(random.choice(devices, max(1, round(devices * share / 100)), replace=False).tolist())
    numbers: set[int] = set()
    for part in of.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ConfigError(f"'{of}': expected all, a percentage, or numbers of devices as in 0-3,7")
        first, last = int(match[1]), int(match[2] or match[1])
        if not first <= last < devices:
            raise ConfigError(f"'{of}': there are devices 0 to {devices - 1}")
        numbers.update(range(first, last + 1))
    return sorted(numbers)


def absences(tables: Sequence[Absence], devices: int, seed: int) -> Iterator[tuple[float, float, list[int], bool]]:
    """(from, until, device numbers, asleep), by beginning; endless if one is repeated."""
    random = np.random.default_rng([seed, 11])
    due = [(table.at, number) for number, table in enumerate(tables)]
    while due:
        at, number = min(due)
        table = tables[number]
        yield at, inf if table.seconds is None else at + table.seconds, choose(table.of, devices, random), table.asleep
        due.remove((at, number))
        if table.every is not None:
            due.append((at + table.every, number))
