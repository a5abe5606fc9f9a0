"""Byzantine devices: what they send is replaced, one attack a file.

A file has `SPEC = AttackSpec(attack=...)`.

Examples:
    >>> parse("label-flip:2")
    ('label-flip', 2)
    >>> occasion = Occasion(classes=3, number=1, random=np.random.default_rng(0))
    >>> load("label-flip").attack(np.array([[0.75, 0.25, 0.0]], np.float32), occasion).tolist()
    [[0.0, 0.25, 0.75]]
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

Create = Callable[[ProtocolContext], Protocol]


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When something is sent.

    Attributes:
        classes: K. Rows have K entries, or K + 1 where opinions are weighted, the last of which is the abstention.
        number: of the round, from 1.
        random: of the attacker and this round.
    """

    classes: int
    number: int
    random: np.random.Generator


@checked(frozen=True, kw_only=True, config=CHECKED)
class AttackSpec:
    """What a Byzantine device sends instead.

    Args:
        attack: (values, occasion) -> values of the same shape (n, K) or (n, K + 1), float32.
        applies: the classes of messages it is for.
    """

    attack: Callable[[Array, Occasion], Floats]
    applies: frozenset[PrivacyClass] = DISTRIBUTIONS


ATTACKS = Family("edge_sim.attacks", AttackSpec, "attack")


def load(setting: str) -> AttackSpec:
    """Look up the attack that a setting names. Raises ConfigError: unknown."""
    return ATTACKS.load(setting.partition(":")[0])


def parse(setting: str) -> tuple[str, int]:
    """Read a setting like "label-flip:2".

    Args:
        setting: the attack, and how many devices do it.

    Returns:
        The name and the number.

    Raises:
        ConfigError: an unknown attack, or a number that cannot be.
    """
    name, _, count = setting.partition(":")
    load(name)
    if not count.isdigit() or int(count) < 1:
        raise ConfigError(f"byzantine '{setting}': expected {name}:N with N devices, at least 1")
    return name, int(count)


def attacker(create: Create, name: str) -> Create:
    """Return what makes the same protocol on a Byzantine device.

    Args:
        create: makes the protocol, as `Algorithm.create` does.
        name: of the attack.

    Returns:
        Like `create`. Distributions that the protocol itself puts into other messages (`ProtocolContext.perturb`) are
        replaced before it does; messages of a class that the attack is for, when they are sent.
    """
    return lambda context: ByzantineProtocol(create(_perturbed(context, name)), name, context.seed, context.classes)


def _perturbed(context: ProtocolContext, name: str) -> ProtocolContext:
    attack = load(name).attack

    def perturb(values: Array, number: int) -> Array:
        return context.perturb(attack(values, _occasion(context.classes, context.seed, number)), number)

    return replace(context, perturb=perturb)


def _occasion(classes: int, seed: int, number: int) -> Occasion:
    return Occasion(classes=classes, number=number, random=np.random.default_rng([seed, number]))


def sure(opinions: Array, columns: int) -> Floats:
    """Claim to be sure of opinions (n, K), in rows of so many entries.

    >>> sure(np.array([[0.5, 0.5]]), 3).tolist()
    [[0.5, 0.5, 0.0]]
    """
    return np.pad(opinions, ((0, 0), (0, columns - opinions.shape[1]))).astype(np.float32)


def opinions(values: Array, classes: int) -> Array:
    """Return the distributions (n, K) of rows of K or K + 1 entries, whatever their weights; a row of zeros stays one.

    >>> opinions(np.array([[0.25, 0.25, 0.5], [0.0, 0.0, 0.0]]), 2).tolist()
    [[0.5, 0.5], [0.0, 0.0]]
    """
    p = np.clip(values[:, :classes], 0, None)
    total = p.sum(axis=1, keepdims=True)
    return np.where(total > 0, p / np.where(total > 0, total, 1), 0.0)


@dataclass
class ByzantineProtocol:
    """A protocol that does all it should, but for what it sends."""

    honest: Protocol
    name: str
    seed: int
    classes: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.honest, name)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Run the honest round, and replace what it sends."""
        spec = load(self.name)
        occasion = _occasion(self.classes, self.seed, number)

        def replaced(message: Message) -> Message:
            kind = find(message.kind)
            if kind is None or kind.privacy not in spec.applies:
                return message
            return replace(message, values=spec.attack(message.values, occasion))

        steps = self.honest.round(number, engine)
        try:
            exchange = next(steps)
            while True:
                once = {id(m): replaced(m) for several in exchange.send.values() for m in several}
                send = {j: tuple(once[id(m)] for m in several) for j, several in exchange.send.items()}
                exchange = steps.send((yield Exchange(send, exchange.wait_for)))
        except StopIteration as done:
            metrics: Metrics = done.value
            return metrics
