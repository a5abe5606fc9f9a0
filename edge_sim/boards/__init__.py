"""How fast boards compute: a file each, with where its figures are from.

flops          float32 floating-point operations a second, one thread
call_seconds   what a call of the engine, and Python around it, costs beside them: 80 microseconds on the x86-64
               machine these figures were written on, times how much slower the board is than a Zen 2 core in
               the same source; an estimate
source         for people

>>> round(load("pi-4").seconds(macs=46e6, calls=1), 3)
0.01
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from edge.errors import ConfigError


@dataclass(frozen=True)
class Board:
    """One kind of board."""

    name: str
    flops: float
    call_seconds: float
    source: str

    def seconds(self, macs: float, calls: float) -> float:
        """For so many multiply-accumulates in so many calls of the engine."""
        return 2 * macs / self.flops + calls * self.call_seconds


def names() -> list[str]:
    """What there are, e.g. ["pi-3", "pi-4"]."""
    return sorted(f.name.removesuffix(".toml") for f in files(__name__).iterdir() if f.name.endswith(".toml"))


@cache
def load(name: str) -> Board:
    """The board of that name. Raises ConfigError."""
    if name not in names():
        raise ConfigError(f"unknown board '{name}'; there are: {', '.join(names())}")
    return Board(name, **tomllib.loads((files(__name__) / f"{name}.toml").read_text()))
