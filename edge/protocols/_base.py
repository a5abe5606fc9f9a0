"""What most protocols do alike: nothing to save, one head, weights as one row, a neighbour's nonsense refused."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array, Engine, Floats, Format, Message, MessageKind, NodeId, ProtocolContext
from edge.kinds import WEIGHTS

PLAUSIBLE = 100.0
"""Weights that are this many times longer than ours (plus one) are not averaged with."""


class Stateless:
    """Keeps nothing between rounds beyond the engine's state; answers with the model's main head."""

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Nobody."""
        return {}

    def heads(self, engine: Engine, x: Array, centre: Engine | None) -> list[Floats]:
        """One."""
        del centre
        return [engine.predict(x)]

    def state(self) -> dict[str, Array]:
        """Nothing."""
        return {}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Nothing to put back."""


class Stateful(Stateless):
    """Keeps the attributes named in STATE, which are arrays."""

    STATE: ClassVar[tuple[str, ...]] = ()

    def state(self) -> dict[str, Array]:
        """Copies of them."""
        return {name: np.array(getattr(self, name)) for name in self.STATE}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put them back. Raises KeyError if one is missing."""
        for name in self.STATE:
            setattr(self, name, np.array(values[name]))


def flatten(parameters: Mapping[str, Array]) -> Array:
    """All parameters as one row (1, P) float32, in the order of the bundle's table."""
    return np.concatenate([p.ravel() for p in parameters.values()]).astype(np.float32)[None]


def unflatten(row: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of `flatten`, with the names and shapes of `like`."""
    values, at = {}, 0
    for name, p in like.items():
        values[name] = row[0, at : at + p.size].reshape(p.shape).astype(np.float32)
        at += p.size
    return values


def weights(context: ProtocolContext) -> Format:
    """The format of a model of our architecture."""
    return WEIGHTS.format(context.model_digest, (1, context.parameters))


def control(context: ProtocolContext, kind: MessageKind, numbers: int = 1) -> Format:
    """The format of a few numbers between a device and its centre."""
    return kind.format(context.model_digest, (1, numbers))


def message(form: Format, number: int, values: Any) -> Message:
    """What `form` says, of round `number`."""
    return Message(form.kind, number, form.digest, np.asarray(values, np.float32).reshape(-1, form.shape[1]))


def near(rows: Mapping[NodeId, Array], mine: Array) -> dict[NodeId, Array]:
    """Those weights (1, P), as float64, that are not absurdly longer than `mine`."""
    limit = PLAUSIBLE * (1 + np.linalg.norm(mine))
    exact = {j: row.astype(np.float64) for j, row in rows.items()}
    return {j: row for j, row in exact.items() if np.linalg.norm(row) <= limit}


def adopt(engine: Engine, parameters: Mapping[str, Array], received: Mapping[NodeId, Array]) -> float:
    """Go on from the weights (1, P) a centre sent, if they are plausible next to ours; returns how many were not.

    parameters: the engine's present ones.
    """
    valid = near(received, flatten(parameters))
    for row in valid.values():
        engine.load_parameters(unflatten(row, parameters))
    return float(len(received) - len(valid))


def few_enough(context: ProtocolContext, most: int) -> None:
    """Raise ConfigError if the device has more private samples than the setting `max_samples` lets it send."""
    if len(context.x) > most:
        raise ConfigError(f"{context.me} has {len(context.x)} samples, and `max_samples` is {most}; raise the setting")


def distributions(rows: Array) -> bool:
    """Whether every row is a distribution over the classes, up to how it was coded."""
    total = rows.sum(axis=1, dtype=np.float64)
    return bool(rows.min() >= -1e-3 and np.abs(total - 1).max() < 1e-2)
