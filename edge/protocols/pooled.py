"""All data in one place: the upper bound, and the cost of sending data.

Every device sends its samples and labels to the server once; the server takes as many training steps as all
devices together would, on the union, and answers for everybody. No device keeps a model.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from edge.interfaces import (
    DEVICE,
    Array,
    Engine,
    Exchange,
    ExchangeResult,
    Floats,
    Format,
    MessageKind,
    Metrics,
    NodeId,
    Protocol,
    ProtocolContext,
)
from edge.kinds import LABELS, SAMPLES
from edge.protocols._base import Stateful, Stateless, few_enough, message
from edge.protocols._local import LocalSettings, train
from edge.specs import ProtocolSpec


@dataclass(frozen=True, kw_only=True)
class PooledSettings(LocalSettings):
    """The server's training: `local_steps` for each device that sent samples.

    max_samples: samples a device may send.
    """

    max_samples: int = 20_000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_samples < 1:
            raise ValueError("max_samples must be at least 1")


def objective(_settings: PooledSettings) -> tuple[str, ...]:
    """Plain supervision."""
    return ("cross_entropy",)


def sends(_settings: PooledSettings) -> tuple[MessageKind, ...]:
    """What devices send, once."""
    return (SAMPLES, LABELS)


def forms(context: ProtocolContext, settings: PooledSettings) -> tuple[Format, Format]:
    """Samples (n, |x|), and their labels (n, 1)."""
    digest, size = context.reference_digest, prod(context.reference_x.shape[1:])
    return (
        SAMPLES.format(digest, (settings.max_samples, size), fewer=True),
        LABELS.format(digest, (settings.max_samples, 1), fewer=True),
    )


@dataclass
class PooledDevice(Stateless):
    """Sends its samples in the first round; has no part in what follows."""

    context: ProtocolContext
    settings: PooledSettings

    def heads(self, engine: Engine, x: Array, centre: Engine | None) -> list[Floats]:
        """The server's answer, where it can be asked."""
        return [(centre or engine).predict(x)]

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Send, once."""
        if number == 1:
            rows = self.context.x.reshape(len(self.context.x), -1), self.context.y[:, None]
            messages = [
                message(form, number, part) for form, part in zip(forms(self.context, self.settings), rows, strict=True)
            ]
            yield Exchange({self.context.neighbours[0]: messages}, {})
        return {}


@dataclass
class PooledServer(Stateful):
    """Trains on everything. x: (n, ...), y: (n,) what was sent. senders: (1,) how many did."""

    STATE = ("x", "y", "senders")
    context: ProtocolContext
    settings: PooledSettings
    x: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))
    y: Array = field(default_factory=lambda: np.empty(0, np.int64))
    senders: Array = field(default_factory=lambda: np.zeros(1, np.int64))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Everybody's samples."""
        return dict.fromkeys(self.context.neighbours, forms(self.context, self.settings))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect, once; then train."""
        if number == 1:
            result = yield Exchange({}, dict.fromkeys(self.context.neighbours, (SAMPLES.name, LABELS.name)))
            x, labels = result.of(SAMPLES.name), result.of(LABELS.name)
            fit = [j for j in x if j in labels and honest(x[j], labels[j], self.context.classes)]
            if fit:
                shape = self.context.reference_x.shape[1:]
                self.x = np.concatenate([x[j] for j in fit]).reshape(-1, *shape)
                self.y = np.concatenate([labels[j][:, 0] for j in fit]).astype(np.int64)
                self.senders = np.array([len(fit)])
        if not len(self.x):
            return {}
        together = replace(self.context, x=self.x, y=self.y)
        steps = replace(self.settings, local_steps=self.settings.local_steps * int(self.senders[0]))
        return train(engine, together, steps, number)


def honest(x: Array, labels: Array, classes: int) -> bool:
    """Whether samples and labels belong together and are neither enormous nor out of range."""
    return bool(len(x) == len(labels) and np.abs(x).max() < 1e6 and np.isin(labels, np.arange(classes)).all())


def create(context: ProtocolContext, settings: PooledSettings) -> Protocol:
    """A device or the server. Raises ConfigError if the device has more samples than may be sent."""
    few_enough(context, settings.max_samples)
    return PooledDevice(context, settings) if context.role == DEVICE else PooledServer(context, settings)


SPEC = ProtocolSpec(
    settings=PooledSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(SAMPLES, LABELS),
    centre="server",
    centre_objective=objective,
    asks_centre=True,
    renamed={"most": "max_samples"},
)
