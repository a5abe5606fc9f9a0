"""No communication at all: the lower bound every protocol is compared with."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

from edge.interfaces import Array, Engine, Exchange, Heard, Metrics, Protocol, Setup
from edge.protocols._local import LocalSettings, train

OBJECTIVE = ("cross_entropy",)


@dataclass(frozen=True, kw_only=True)
class Settings(LocalSettings):
    """Local training only."""


@dataclass
class Isolated:
    """See `edge.interfaces.Protocol`."""

    KIND: ClassVar[str] = ""
    setup: Setup
    settings: Settings

    def round(self, number: int, engine: Engine) -> Generator[Exchange, Heard, Metrics]:
        """Train."""
        yield from ()
        return train(engine, self.setup, self.settings, number)

    def state(self) -> dict[str, Array]:
        """Nothing beyond the engine's."""
        return {}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Nothing to put back."""


def create(setup: Setup, settings: Settings) -> Isolated:
    """A device on its own."""
    return Isolated(setup, settings)


_: type[Protocol] = Isolated
