"""What a machine reports about itself while it works: energy, temperature, clock, throttling.

Energy comes from the processor's counters (RAPL, /sys/class/powercap), or from a file that a power meter's logger
writes: lines of "seconds,watts", seconds since 1970, a header or comments aside. Where there is neither, energy is
not measured; nothing is estimated.
"""

import shutil
import subprocess
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol as Interface

import numpy as np
from pydantic import BaseModel

from edge.errors import ConfigError
from edge.operations.health import numbers

SYS = Path("/sys")
THROTTLED = {0: "under-voltage", 1: "clock capped", 2: "throttled", 3: "soft temperature limit"}
"""bits of `vcgencmd get_throttled`; the same 16 higher: it has happened since the start"""


class MachineState(BaseModel):
    """Sensors; none where the machine does not report it. temperature: degrees Celsius, the hottest sensor's."""

    temperature: float | None = None
    megahertz: float | None = None
    throttled: list[str] | None = None


def state(root: Path = SYS) -> MachineState:
    """Read the sensors."""
    hot = [value / 1000 for value in numbers(root, "class/thermal/thermal_zone*/temp")]
    clocks = [value / 1000 for value in numbers(root, "devices/system/cpu/cpu*/cpufreq/scaling_cur_freq")]
    return MachineState(
        temperature=max(hot) if hot else None,
        megahertz=max(clocks) if clocks else None,
        throttled=_throttled(),
    )


class Meter(Interface):
    """Energy between two moments that were marked."""

    name: str

    def mark(self) -> float:
        """Mark this moment, and return it in seconds since 1970."""

    def joules(self, begin: float, end: float) -> float | None:
        """Return the energy between two marks; none if the meter has not covered them."""


@dataclass
class Rapl:
    """The counters of the processor's packages. See `Meter`."""

    zones: list[Path]
    name: str = "RAPL"

    def __post_init__(self) -> None:
        self._marks: dict[float, list[int]] = {}

    def mark(self) -> float:
        """See `Meter.mark`; the counters are read now."""
        now = time.time()
        self._marks[now] = [int((zone / "energy_uj").read_text()) for zone in self.zones]
        return now

    def joules(self, begin: float, end: float) -> float | None:
        """See `Meter.joules`. A counter that is less than before has wrapped around, once."""
        total = 0
        for zone, first, last in zip(self.zones, self._marks[begin], self._marks[end], strict=True):
            around = int((zone / "max_energy_range_uj").read_text()) if last < first else 0
            total += last - first + around
        return total / 1e6


@dataclass
class MeterFile:
    """What a power meter's logger writes, read when it is needed. See `Meter`."""

    path: Path

    def __post_init__(self) -> None:
        self.name = f"power meter ({self.path.name})"
        self._read()

    def mark(self) -> float:
        """See `Meter.mark`."""
        return time.time()

    def joules(self, begin: float, end: float) -> float | None:
        """See `Meter.joules`: the trapezoids between the samples, straight lines at both ends."""
        samples = self._read()
        if not samples or samples[0][0] > begin or samples[-1][0] < end:
            return None
        moments, watts = map(list, zip(*samples, strict=True))
        times = [begin, *(t for t in moments if begin < t < end), end]
        powers: list[float] = np.interp(times, moments, watts).tolist()
        return float(sum((t2 - t1) * (w1 + w2) / 2 for (t1, w1), (t2, w2) in pairwise(zip(times, powers, strict=True))))

    def _read(self) -> list[tuple[float, float]]:
        try:
            lines = self.path.read_text().splitlines()
        except OSError as reason:
            raise ConfigError(f"--power {self.path}: {reason.strerror}; expected lines of seconds,watts") from None
        samples = []
        for number, line in enumerate(lines, start=1):
            words = line.split(",")
            try:
                samples.append((float(words[0]), float(words[1])))
            except (ValueError, IndexError):
                # A header, a comment, or a last line that is still being written.
                if 1 < number < len(lines) and line.strip() and not line.startswith("#"):
                    raise ConfigError(f"{self.path}, line {number}: '{line}' is not seconds,watts") from None
        if any(later[0] < earlier[0] for earlier, later in pairwise(samples)):
            raise ConfigError(f"{self.path}: its times go backwards")
        return samples


def meter(file: Path | None = None, root: Path = SYS) -> Meter | None:
    """Return the meter of a file, or else the processor's; none if there is neither, or it may not be read.

    Raises:
        ConfigError: a file that is not there, or is not lines of seconds,watts.
    """
    if file is not None:
        return MeterFile(file)
    zones = [path.parent for path in sorted(root.glob("class/powercap/intel-rapl:?/energy_uj"))]
    counters = Rapl(zones)
    try:
        counters.mark()
    except (OSError, ValueError):  # only root may read them
        return None
    return counters if zones else None


def _throttled() -> list[str] | None:
    """Ask the firmware of a Raspberry Pi; none where there is no vcgencmd."""
    program = shutil.which("vcgencmd")
    if program is None:
        return None
    done = subprocess.run([program, "get_throttled"], capture_output=True, text=True, check=False, timeout=5)
    return flags(done.stdout)


def flags(line: str) -> list[str] | None:
    """Read what `vcgencmd get_throttled` prints; none if it is something else.

    >>> flags("throttled=0x50005")
    ['under-voltage', 'throttled']
    """
    try:
        bits = int(line.strip().partition("=")[2], 16)
    except ValueError:
        return None
    now = [text for bit, text in THROTTLED.items() if bits >> bit & 1]
    earlier = [text for bit, text in THROTTLED.items() if bits >> (bit + 16) & 1]
    return [*now, *(f"{text}, earlier" for text in earlier if text not in now)]
