"""D-PSGD: neighbours exchange and average *weights*. The costly baseline.

Lian et al., "Can Decentralized Algorithms Outperform Centralized Algorithms?", NeurIPS 2017; with
`local_steps` > 1 the averaging happens once a round (decentralised local SGD).

    w_n <- local steps on w_n        w_n <- sum_m W_nm w_m
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edge.interfaces import Array, Engine, Exchange, Expected, Heard, Message, Metrics, Protocol, Setup
from edge.protocols._local import LocalSettings, flatten, train, unflatten

OBJECTIVE = ("cross_entropy",)
PLAUSIBLE = 100.0
"""A neighbour whose weights are this many times longer than ours (plus one) is not averaged with."""


@dataclass(frozen=True, kw_only=True)
class Settings(LocalSettings):
    """Local training; the mixing weights come with the device."""


@dataclass
class DPSGD:
    """See `edge.interfaces.Protocol`."""

    KIND: ClassVar[str] = "weights"
    setup: Setup
    settings: Settings

    def round(self, number: int, engine: Engine) -> Generator[Exchange, Heard, Metrics]:
        """Train, exchange weights, average with whoever answered; a silent neighbour's share is ours."""
        metrics = train(engine, self.setup, self.settings, number)
        parameters = engine.parameters()
        mine = flatten(parameters)
        message = Message(self.KIND, number, self.setup.model_digest, mine)
        neighbours = self.setup.neighbours
        heard = yield Exchange(
            dict.fromkeys(neighbours, message),
            neighbours,
            Expected(self.KIND, number, self.setup.model_digest, mine.shape),
        )
        mixed = mine.astype(np.float64)
        limit = PLAUSIBLE * (1 + np.linalg.norm(mixed))
        theirs = {j: m.values.astype(np.float64) for j, m in heard.received.items()}
        believed = {j: w for j, w in theirs.items() if np.linalg.norm(w) <= limit}
        for j in sorted(believed):
            mixed += self.setup.weights[j] * (believed[j] - mine)
        engine.load_parameters(unflatten(mixed, parameters))
        return metrics | {"implausible": float(len(heard.received) - len(believed))}

    def state(self) -> dict[str, Array]:
        """Nothing beyond the engine's."""
        return {}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Nothing to put back."""


def create(setup: Setup, settings: Settings) -> DPSGD:
    """A device that averages weights with its neighbours."""
    return DPSGD(setup, settings)


_: type[Protocol] = DPSGD
