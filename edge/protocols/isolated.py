"""No communication at all: the lower bound every protocol is compared with."""

from collections.abc import Generator
from dataclasses import dataclass

from edge.interfaces import Engine, Exchange, Heard, MessageKind, Metrics, Protocol, Setup
from edge.protocols._base import Stateless
from edge.protocols._local import LocalSettings, train


@dataclass(frozen=True, kw_only=True)
class Settings(LocalSettings):
    """Local training only."""


def objective(_settings: Settings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def sends(_settings: Settings) -> tuple[MessageKind, ...]:
    """Nothing."""
    return ()


@dataclass
class Isolated(Stateless):
    """See `edge.interfaces.Protocol`."""

    setup: Setup
    settings: Settings

    def round(self, number: int, engine: Engine) -> Generator[Exchange, Heard, Metrics]:
        """Train."""
        yield from ()
        return train(engine, self.setup, self.settings, number)


def create(setup: Setup, settings: Settings) -> Isolated:
    """A device on its own."""
    return Isolated(setup, settings)


_: type[Protocol] = Isolated
