"""Averaging weights at a centre: what FedAvg, periodic and dynamic averaging share."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

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
    ProtocolContext,
)
from edge.kinds import STATUS, WEIGHTS
from edge.protocols._base import PLAUSIBLE, Stateless, adopt, control, flatten, message, weights
from edge.protocols._local import LocalSettings, shared, train


@dataclass(frozen=True, kw_only=True)
class AveragingSettings(LocalSettings):
    """The knobs of averaging.

    sync_interval: rounds from one averaging to the next. fraction: of the devices whose weights are averaged, drawn
    anew each time from the seed that all share; the average goes to all of them.
    weighted: by the number of private samples, instead of equally; devices then send theirs, too.
    """

    sync_interval: int = 1
    fraction: float = 1.0
    weighted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sync_interval < 1 or not 0 < self.fraction <= 1:
            raise ValueError("sync_interval must be at least 1, fraction above 0 and at most 1")


RENAMED = {"every": "sync_interval"}


def sends(settings: AveragingSettings) -> tuple[MessageKind, ...]:
    """What devices send: weights, and how many samples are behind them where that counts."""
    return (WEIGHTS, STATUS) if settings.weighted else (WEIGHTS,)


@dataclass
class AveragingLearner(Stateless):
    """A device: trains, sends its weights where it is drawn, and goes on from the average."""

    context: ProtocolContext
    settings: AveragingSettings

    @property
    def centre(self) -> NodeId:
        """The only neighbour."""
        return self.context.neighbours[0]

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The average."""
        return {self.centre: (weights(self.context),)}

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train if drawn; every so often, average. Without an answer the device goes on with what it has."""
        due = number % self.settings.sync_interval == 0
        taking_part = self.context.me in drawn(self.context, self.settings, number)
        metrics = train(engine, self.context, self.settings, number) if taking_part else {}
        if not due:
            return metrics
        parameters = engine.parameters()
        form = weights(self.context)
        messages = [message(form, number, flatten(parameters))]
        if self.settings.weighted:
            messages.append(message(control(self.context, STATUS), number, [[len(self.context.x)]]))
        result = yield Exchange({self.centre: messages} if taking_part else {}, {self.centre: (form.kind,)})
        return metrics | {"rejected_invalid": adopt(engine, parameters, result.of(form.kind))}


@dataclass
class Averager(Stateless):
    """The centre: averages what came in time, and sends the average to everybody."""

    context: ProtocolContext
    settings: AveragingSettings

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The weights, and the number of samples behind them."""
        forms = (weights(self.context), control(self.context, STATUS))
        return dict.fromkeys(self.context.neighbours, forms)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Every so often, collect, average, and send to all; if nobody answered there is nothing to send."""
        if number % self.settings.sync_interval:
            return {}
        form = weights(self.context)
        kinds = (form.kind, STATUS.name) if self.settings.weighted else (form.kind,)
        asked = drawn(self.context, self.settings, number)
        result = yield Exchange({}, dict.fromkeys(asked, kinds))
        rows = result.of(form.kind)
        valid = agreeing(rows)
        samples = {j: float(n[0, 0]) for j, n in result.of(STATUS.name).items() if 0 < n[0, 0] < 1e9}
        if self.settings.weighted:
            valid = {j: w for j, w in valid.items() if j in samples}
        if valid:
            mean = average(valid, samples if self.settings.weighted else None)
            yield Exchange(dict.fromkeys(self.context.neighbours, (message(form, number, mean),)), {})
        return {"averaged": float(len(valid)), "rejected_invalid": float(len(rows) - len(valid))}


def drawn(context: ProtocolContext, settings: AveragingSettings, number: int) -> tuple[NodeId, ...]:
    """Who trains for the averaging that ends the period of round `number`: every device can work it out."""
    if settings.fraction == 1:
        return context.fleet
    devices, period = len(context.fleet), -(-number // settings.sync_interval)
    count = max(1, round(settings.fraction * devices))
    return tuple(context.fleet[i] for i in np.sort(shared(context, period, 1).choice(devices, count, replace=False)))


def agreeing(rows: Mapping[NodeId, Array]) -> dict[NodeId, Array]:
    """Select plausible weights: those at most PLAUSIBLE times as long as the (lower) median, plus one.

    Args:
        rows: sender -> weights (1, P).

    Returns:
        The selected ones, in float64.
    """
    lengths = {j: float(np.linalg.norm(row.astype(np.float64))) for j, row in rows.items()}
    limit = PLAUSIBLE * (1 + sorted(lengths.values())[(len(lengths) - 1) // 2]) if lengths else 0.0
    return {j: row.astype(np.float64) for j, row in rows.items() if lengths[j] <= limit}


def average(rows: Mapping[NodeId, Array], samples: Mapping[NodeId, float] | None = None) -> Array:
    """Average weights (McMahan et al. 2017), summed in the order of names so that the order of arrival does not matter.

    Args:
        rows: sender -> weights (1, P).
        samples: sender -> how much it counts; equally if absent.

    Returns:
        (1, P) float64.
    """
    parts = {j: samples[j] if samples else 1.0 for j in sorted(rows)}
    total = sum(parts.values())
    mean: Array = sum(((part / total) * rows[j] for j, part in parts.items()), np.zeros((1, 1)))
    return mean
