"""A protocol for the benchmark only: devices are told the true labels of the reference set, an upper bound.

What distillation could reach on these rows if the fleet's consensus were always right and there from the start. Not in
`edge/protocols/`, as nobody has such labels; `edge-bench battery` adds it as a plug-in (`--plugin`).
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from edge.errors import ConfigError
from edge.interfaces import Array, Engine, Exchange, ExchangeResult, MessageKind, Metrics, ProtocolContext
from edge.protocols import LocalSettings, Stateless, train
from edge.specs import ProtocolSpec, UpdateRule

TERM = "soft_cross_entropy(reference)"


@dataclass(frozen=True, kw_only=True)
class ReferenceLabelsSettings(LocalSettings):
    """labels: file with the (R,) labels of the reference set, as numpy.save writes it. reference_batch: rows a step."""

    labels: str
    reference_batch: int = 32


def objective(_settings: ReferenceLabelsSettings) -> tuple[str, ...]:
    """Supervision on both batches."""
    return ("cross_entropy", TERM)


def update(_settings: ReferenceLabelsSettings) -> UpdateRule:
    """As what it bounds."""
    return UpdateRule("nesterov", 1.0)


def sends(_settings: ReferenceLabelsSettings) -> tuple[MessageKind, ...]:
    """Nothing."""
    return ()


@dataclass
class ReferenceLabels(Stateless):
    """See `edge.interfaces.Protocol`. targets: (R, K) float32, one-hot."""

    context: ProtocolContext
    settings: ReferenceLabelsSettings
    targets: Array

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train on own and reference samples."""
        yield from ()
        size = self.settings.reference_batch
        return train(engine, self.context, self.settings, number, public=self._target, reference_batch=size)

    def _target(self, of: Array) -> dict[str, Array]:
        return {"reference_target": self.targets[of]}


def create(context: ProtocolContext, settings: ReferenceLabelsSettings) -> ReferenceLabels:
    """A device that knows. Raises ConfigError: labels of another reference set."""
    labels = np.load(settings.labels)
    if labels.shape != (len(context.reference_x),):
        raise ConfigError(
            f"{settings.labels} has labels {list(labels.shape)}; there are {len(context.reference_x)} rows"
        )
    return ReferenceLabels(context, settings, np.eye(context.classes, dtype=np.float32)[labels])


SPEC = ProtocolSpec(
    settings=ReferenceLabelsSettings, objective=objective, create=create, sends=sends, kinds=(), update=update
)
