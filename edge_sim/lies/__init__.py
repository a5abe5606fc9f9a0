"""Devices that lie: what they say is replaced before it is sent, one way a file.

A file has `lie(values, random) -> values` for soft labels (rows, K) float32.
"""

from collections.abc import Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from edge import plugins
from edge.errors import ConfigError
from edge.interfaces import SOFT, Engine, Exchange, Heard, Message, Metrics, Protocol


def parse(spec: str) -> tuple[str, int]:
    """ "label-flip:2" -> ("label-flip", 2), how many devices do it. Raises ConfigError."""
    name, _, count = spec.partition(":")
    plugins.load("edge_sim.lies", name, "lie")
    if not count.isdigit() or int(count) < 1:
        raise ConfigError(f"liars '{spec}': expected {name}:N with N devices, at least 1")
    return name, int(count)


@dataclass
class Liar:
    """A protocol that runs as it should, but for what it says."""

    honest: Protocol
    name: str
    seed: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.honest, name)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, Heard, Metrics]:
        """The honest round, with other words."""
        lie = plugins.load("edge_sim.lies", self.name).lie
        random = np.random.default_rng([self.seed, number])

        def twisted(message: Message) -> Message:
            return replace(message, values=lie(message.values, random)) if message.kind in SOFT else message

        talk = self.honest.round(number, engine)
        try:
            exchange = next(talk)
            while True:
                said = {id(m): twisted(m) for several in exchange.send.values() for m in several}
                send = {j: tuple(said[id(m)] for m in several) for j, several in exchange.send.items()}
                exchange = talk.send((yield Exchange(send, exchange.wait_for)))
        except StopIteration as done:
            metrics: Metrics = done.value
            return metrics
