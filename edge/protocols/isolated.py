"""No communication at all: the lower bound every protocol is compared with."""

from collections.abc import Generator
from dataclasses import dataclass

from edge.interfaces import Engine, Exchange, ExchangeResult, MessageKind, Metrics, Protocol, ProtocolContext
from edge.protocols._base import Stateless
from edge.protocols._local import LocalSettings, train
from edge.specs import ProtocolSpec
from edge.task import TASKS


@dataclass(frozen=True, kw_only=True)
class IsolatedSettings(LocalSettings):
    """Local training only."""


def objective(_settings: IsolatedSettings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def sends(_settings: IsolatedSettings) -> tuple[MessageKind, ...]:
    """Nothing."""
    return ()


@dataclass
class Isolated(Stateless):
    """See `edge.interfaces.Protocol`."""

    context: ProtocolContext
    settings: IsolatedSettings

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train."""
        yield from ()
        return train(engine, self.context, self.settings, number)


def create(context: ProtocolContext, settings: IsolatedSettings) -> Isolated:
    """A device on its own."""
    return Isolated(context, settings)


_: type[Protocol] = Isolated


SPEC = ProtocolSpec(
    settings=IsolatedSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(),
    growing=True,
    tasks=tuple(TASKS),
)
