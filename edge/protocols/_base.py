"""What most protocols do alike: nothing to save, one head, weights as one row, a neighbour's nonsense refused."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array, Engine, Floats, Format, Message, MessageKind, NodeId, ProtocolContext
from edge.kinds import OUTPUTS, SOFT_LABELS, WEIGHTS

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
    """Put parameters into one row.

    Args:
        parameters: by name, in the order of the bundle's table.

    Returns:
        (1, P) float32.
    """
    return np.concatenate([p.ravel() for p in parameters.values()]).astype(np.float32)[None]


def unflatten(row: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """Undo `flatten`.

    Args:
        row: (1, P).
        like: parameters of the same model, for their names and shapes.

    Returns:
        The parameters by name, float32.
    """
    values, at = {}, 0
    for name, p in like.items():
        values[name] = row[0, at : at + p.size].reshape(p.shape).astype(np.float32)
        at += p.size
    return values


def weights(context: ProtocolContext) -> Format:
    """Describe messages with a model of our architecture: (1, P)."""
    return WEIGHTS.format(context.model_digest, (1, context.parameters))


def outputs(context: ProtocolContext) -> MessageKind:
    """Return the kind of message that carries a model's outputs on reference samples."""
    return SOFT_LABELS if context.task.simplex else OUTPUTS


def control(context: ProtocolContext, kind: MessageKind, numbers: int = 1) -> Format:
    """Describe messages of a few numbers between a device and its centre: (1, numbers)."""
    return kind.format(context.model_digest, (1, numbers))


def message(form: Format, number: int, values: Any) -> Message:
    """Make a message.

    Args:
        form: what it has to look like.
        number: of the round.
        values: anything that becomes (rows, form.shape[1]) float32.

    Returns:
        The message.
    """
    return Message(form.kind, number, form.digest, np.asarray(values, np.float32).reshape(-1, form.shape[1]))


def near(rows: Mapping[NodeId, Array], mine: Array) -> dict[NodeId, Array]:
    """Select plausible weights: those at most PLAUSIBLE times as long as ours, plus one.

    Args:
        rows: sender -> weights (1, P).
        mine: ours (1, P).

    Returns:
        The selected ones, in float64.
    """
    limit = PLAUSIBLE * (1 + np.linalg.norm(mine))
    exact = {j: row.astype(np.float64) for j, row in rows.items()}
    return {j: row for j, row in exact.items() if np.linalg.norm(row) <= limit}


def adopt(engine: Engine, parameters: Mapping[str, Array], received: Mapping[NodeId, Array]) -> float:
    """Continue from the weights that a centre sent, if they are plausible beside ours.

    Args:
        engine: takes them.
        parameters: its present ones.
        received: sender -> weights (1, P); of one sender at most.

    Returns:
        How many were not plausible.
    """
    valid = near(received, flatten(parameters))
    for row in valid.values():
        engine.load_parameters(unflatten(row, parameters))
    return float(len(received) - len(valid))


def few_enough(context: ProtocolContext, most: int) -> None:
    """Refuse a device with more than `most` private samples, the setting `max_samples`. Raises ConfigError."""
    if len(context.x) > most:
        raise ConfigError(f"{context.me} has {len(context.x)} samples, and `max_samples` is {most}; raise the setting")


def distributions(rows: Array) -> bool:
    """Tell whether every row (n, K) is a distribution over the classes, up to how it was coded."""
    total = rows.sum(axis=1, dtype=np.float64)
    return bool(rows.min() >= -1e-3 and np.abs(total - 1).max() < 1e-2)
