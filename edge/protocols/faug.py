"""Federated distillation with augmentation: devices fill up the labels they lack from pooled seed samples.

Jeong et al. 2018 let the server train a generator (1.5 million parameters) on a few seed samples of each
device and send it to all. Here the server pools the seeds and sends each device those of the labels it
lacks; the device repeats them, shifted by a little noise, until its labels are level. The purpose is the
paper's, the missing label becomes trainable, and the cost is a few samples instead of a generator. What it
gives away is exactly the seeds: `leakage` has the paper's two measures.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import ClassVar

import numpy as np

from edge.interfaces import (
    DEVICE,
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
from edge.kinds import CLASS_OUTPUTS, SAMPLES
from edge.protocols import federated_distillation as fd
from edge.protocols._base import message
from edge.protocols._local import generator
from edge.specs import ProtocolSpec

SEEDS = SAMPLES.name
objective = fd.objective


@dataclass(frozen=True, kw_only=True)
class FaugSettings(fd.FdSettings):
    """Also those of federated distillation.

    seeds: samples given away of each label the device has plenty of, and of each it lacks, as far as it has any.
    lacking: a label with fewer samples than this share of the device's mean per label is one it lacks.
    noise: standard deviation of what is added to a repeated seed, in units of the seeds' own.
    """

    seeds: int = 1
    lacking: float = 0.5
    noise: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds < 1 or not 0 < self.lacking <= 1 or self.noise < 0:
            raise ValueError("seeds must be at least 1, lacking above 0 and at most 1, noise not negative")


def sends(_settings: FaugSettings) -> tuple[MessageKind, ...]:
    """What devices send: seeds once, then mean outputs."""
    return (SAMPLES, CLASS_OUTPUTS)


def seeds_format(context: ProtocolContext, settings: FaugSettings, devices: int) -> Format:
    """Samples with their label behind them: (at most seeds x labels x devices, |x| + 1)."""
    size = prod(context.reference_x.shape[1:])
    return SAMPLES.format(context.reference_digest, (settings.seeds * context.classes * devices, size + 1), fewer=True)


@dataclass
class FaugDevice(fd.FdDevice):
    """A device of federated distillation whose private samples are levelled in the first round.

    pool: (n, |x| + 1) the seeds it was given, of which none yet, or none at all.
    """

    STATE: ClassVar[tuple[str, ...]] = ("teacher", "pool")
    settings: FaugSettings
    pool: Array = field(default_factory=lambda: np.empty((0, 1), np.float32))

    def __post_init__(self) -> None:
        self.own = self.context

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The teacher, and the pooled seeds."""
        devices = len(self.context.fleet)
        return {self.server: (fd.table(self.context), seeds_format(self.context, self.settings, devices))}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put it back, and level the samples again as they were."""
        super().load_state(values)
        self._level()

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """In the first round give seeds and take the pool; then federated distillation."""
        if number == 1:
            form = seeds_format(self.context, self.settings, 1)
            seeds = message(form, number, self._seeds())
            result = yield Exchange({self.server: (seeds,)}, {self.server: (SEEDS,)})
            for rows in result.of(SEEDS).values():
                if labelled(rows, self.context.classes):
                    self.pool = rows
            self._level()
        return (yield from super().round(number, engine))

    def lacks(self) -> Array:
        """(K,) bool."""
        counts = np.bincount(self.own.y, minlength=self.own.classes)
        few: Array = counts < self.settings.lacking * counts.sum() / self.own.classes
        return few

    def _seeds(self) -> Array:
        random, context = generator(self.own, 0, 3), self.own
        chosen = [
            random.permutation(np.flatnonzero(context.y == label))[: self.settings.seeds]
            for label in range(context.classes)
        ]
        at = np.concatenate(chosen)
        return np.column_stack([context.x[at].reshape(len(at), -1), context.y[at]])

    def _level(self) -> None:
        """The private samples and, for each label it lacks, seeds repeated up to the mean count of the others."""
        own, lacks = self.own, self.lacks()
        random = generator(own, 0, 4)
        counts = np.bincount(own.y, minlength=own.classes)
        wanted = int(counts[~lacks].mean())
        x, y = [own.x], [own.y]
        for label in np.flatnonzero(lacks):
            seeds = self.pool[self.pool[:, -1] == label, :-1]
            missing = wanted - int(counts[label])
            if len(seeds) and missing > 0:
                drawn = seeds[random.integers(len(seeds), size=missing)]
                drawn = drawn + self.settings.noise * seeds.std() * random.standard_normal(drawn.shape)
                x.append(drawn.reshape(-1, *own.x.shape[1:]).astype(np.float32))
                y.append(np.full(missing, label, np.int64))
        self.context = replace(own, x=np.concatenate(x), y=np.concatenate(y))


@dataclass
class FaugServer(fd.FdServer):
    """The centre: pools seeds once, then means."""

    settings: FaugSettings

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Everybody's seeds and table."""
        forms = (fd.table(self.context), seeds_format(self.context, self.settings, 1))
        return dict.fromkeys(self.context.neighbours, forms)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """In the first round pass on to each device the others' seeds; then federated distillation."""
        if number == 1:
            result = yield Exchange({}, dict.fromkeys(self.context.neighbours, (SEEDS,)))
            seeds = {j: rows for j, rows in result.of(SEEDS).items() if labelled(rows, self.context.classes)}
            form = seeds_format(self.context, self.settings, len(self.context.fleet))
            pools = {i: [rows for j, rows in seeds.items() if j != i] for i in seeds}
            pooled = {i: (message(form, number, np.concatenate(rows)),) for i, rows in pools.items() if rows}
            yield Exchange(pooled, {})
        return (yield from super().round(number, engine))


def labelled(rows: Array, classes: int) -> bool:
    """Whether the last column of (n, |x| + 1) holds labels."""
    labels = rows[:, -1]
    return bool(np.isin(labels, np.arange(classes)).all())


def leakage(target: Sequence[set[int]], redundant: Sequence[set[int]]) -> tuple[list[float], list[float]]:
    """(device-server, inter-device) leakage of each device (Jeong et al. 2018): how well its lack can be guessed.

    target: labels each device lacks; redundant: further labels it gives seeds of.
    """
    to_server = [len(t) / max(len(t | r), 1) for t, r in zip(target, redundant, strict=True)]
    everything = set().union(*target, *redundant)
    return to_server, [len(t) / max(len(everything), 1) for t in target]


def create(context: ProtocolContext, settings: FaugSettings) -> Protocol:
    """A device or the server."""
    return FaugDevice(context, settings) if context.role == DEVICE else FaugServer(context, settings)


SPEC = ProtocolSpec(
    settings=FaugSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(SAMPLES, CLASS_OUTPUTS),
    centre="server",
)
