"""D-PSGD: neighbours exchange and average *weights*. The costly baseline.

Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", NeurIPS 2017; with
`local_steps` > 1 the averaging happens once a round (decentralised local SGD).

    w_n <- local steps on w_n        w_n <- sum_m W_nm w_m

With `momentum` mu > 0 it is quasi-global momentum (Lin et al. 2021, QG-DSGD): each step adds
-eta mu m to the gradient step, and the buffer follows what the round, averaging included, really did:

    m <- mu m + (1 - mu) (w_before - w_after) / (eta local_steps)

It costs no bytes, and unlike local momentum does not pull towards one device's data.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edge.interfaces import (
    Array,
    Engine,
    Exchange,
    ExchangeResult,
    Format,
    MessageKind,
    Metrics,
    NodeId,
    Protocol,
    ProtocolContext,
)
from edge.kinds import WEIGHTS
from edge.protocols._base import Stateful, flatten, message, near, unflatten, weights
from edge.protocols._local import LocalSettings, train
from edge.specs import ProtocolSpec
from edge.task import TASKS


@dataclass(frozen=True, kw_only=True)
class DPSGDSettings(LocalSettings):
    """Local training; the mixing weights come with the device.

    momentum: mu of quasi-global momentum, 0 for none.
    """

    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must be at least 0 and below 1")


def objective(_settings: DPSGDSettings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def sends(_settings: DPSGDSettings) -> tuple[MessageKind, ...]:
    """What devices send."""
    return (WEIGHTS,)


@dataclass
class DPSGD(Stateful):
    """See `edge.interfaces.Protocol`. buffer: (1, P) float64, the quasi-global momentum."""

    STATE = ("buffer",)
    context: ProtocolContext
    settings: DPSGDSettings
    buffer: Array = field(default_factory=lambda: np.zeros((1, 0)))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Everybody's weights."""
        return dict.fromkeys(self.context.neighbours, (weights(self.context),))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train, exchange weights, average with whoever answered; a silent neighbour's share is ours."""
        before = flatten(engine.parameters()) if self.settings.momentum else None
        metrics = self._train(number, engine)
        parameters = engine.parameters()
        mine = flatten(parameters)
        update = message(weights(self.context), number, mine)
        neighbours = self.context.neighbours
        result = yield Exchange(dict.fromkeys(neighbours, (update,)), dict.fromkeys(neighbours, (update.kind,)))
        theirs = result.of(update.kind)
        mixed = mine.astype(np.float64)
        valid = near(theirs, mixed)
        for j in valid:
            mixed += self.context.weights[j] * (valid[j] - mine)
        if before is not None:
            moved = (before - mixed) / (self.settings.rate(number, self.context.optimizer) * self.settings.local_steps)
            mu = self.settings.momentum
            self.buffer = mu * (self.buffer if self.buffer.size else 0) + (1 - mu) * moved
        engine.load_parameters(unflatten(mixed, parameters))
        return metrics | {"rejected_invalid": float(len(theirs) - len(valid))}

    def _train(self, number: int, engine: Engine) -> Metrics:
        if not self.buffer.size:
            return train(engine, self.context, self.settings, number)
        shift = self.settings.rate(number, self.context.optimizer) * self.settings.momentum * self.buffer

        def push() -> None:
            parameters = engine.parameters()
            engine.load_parameters(unflatten(flatten(parameters) - shift, parameters))

        return train(engine, self.context, self.settings, number, after_step=push)


def create(context: ProtocolContext, settings: DPSGDSettings) -> DPSGD:
    """A device that averages weights with its neighbours."""
    return DPSGD(context, settings)


_: type[Protocol] = DPSGD


SPEC = ProtocolSpec(
    settings=DPSGDSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(WEIGHTS,),
    growing=True,
    same_model=True,
    tasks=tuple(TASKS),
)
