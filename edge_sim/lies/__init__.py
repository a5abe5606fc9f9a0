"""Devices that lie: what they say is replaced before it is sent, one way a file.

A file has `SPEC = AttackSpec(attack=...)`.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic.dataclasses import dataclass as checked

from edge.errors import ConfigError
from edge.interfaces import (
    Array,
    Engine,
    Exchange,
    ExchangeResult,
    Floats,
    Message,
    Metrics,
    PrivacyClass,
    Protocol,
    ProtocolContext,
)
from edge.kinds import find
from edge.plugins import Family
from edge.specs import CHECKED, DISTRIBUTIONS


@checked(frozen=True, kw_only=True, config=CHECKED)
class AttackSpec:
    """What a device says instead.

    attack: (values, random) -> values, (rows, K) float32. applies: the classes of messages it is for.
    """

    attack: Callable[[Array, np.random.Generator], Floats]
    applies: frozenset[PrivacyClass] = DISTRIBUTIONS


ATTACKS = Family("edge_sim.lies", AttackSpec, "attack")


def load(name: str) -> AttackSpec:
    """The attack of that name. Raises ConfigError: unknown."""
    return ATTACKS.load(name)


def parse(spec: str) -> tuple[str, int]:
    """ "label-flip:2" -> ("label-flip", 2), how many devices do it. Raises ConfigError."""
    name, _, count = spec.partition(":")
    load(name)
    if not count.isdigit() or int(count) < 1:
        raise ConfigError(f"byzantine '{spec}': expected {name}:N with N devices, at least 1")
    return name, int(count)


def liar(create: Callable[[ProtocolContext], Protocol], name: str) -> Callable[[ProtocolContext], Protocol]:
    """Like `create`, but the protocol sends something else than it should."""
    return lambda context: Liar(create(lying(context, name)), name, context.seed)


def lying(setup: ProtocolContext, name: str) -> ProtocolContext:
    """The same for a protocol whose messages are only made of distributions: those are replaced."""
    attack = load(name).attack

    def perturb(values: Array, number: int) -> Array:
        return setup.perturb(attack(values, np.random.default_rng([setup.seed, number])), number)

    return replace(setup, perturb=perturb)


@dataclass
class Liar:
    """A protocol that runs as it should, but for what it says."""

    honest: Protocol
    name: str
    seed: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.honest, name)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """The honest round, with other words."""
        spec = load(self.name)
        random = np.random.default_rng([self.seed, number])

        def twisted(message: Message) -> Message:
            kind = find(message.kind)
            if kind is None or kind.privacy not in spec.applies:
                return message
            return replace(message, values=spec.attack(message.values, random))

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
