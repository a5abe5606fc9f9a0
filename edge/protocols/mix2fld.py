"""Mix2FLD: distillation up, weights down, and mixed-up seed samples for the server to learn on.

Oh et al., "Mix2FLD: Downlink Federated Learning After Uplink Federated Distillation With Two-Way Mixup",
IEEE Communications Letters 2020; for links whose uplink is the narrow one.

    once     a device sends seeds  x = lambda x_a + (1 - lambda) x_b  of two of its samples with labels a != b
             the server pairs them across devices with those of the opposite labels and mixes *inversely*,
             lambda' x_1 + (1 - lambda') x_2 with lambda' = lambda / (2 lambda - 1): the label becomes hard
             again, and the sample is of two devices, so that neither's raw sample is ever seen
    up       the mean outputs by label, K x K, as in federated distillation
    server   output-to-model conversion: steps on the seeds towards  (label + gamma G[label]) / (1 + gamma),
             G the mean of all devices' tables
    down     the weights, P
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
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
from edge.kinds import CLASS_OUTPUTS, SAMPLES, WEIGHTS
from edge.protocols import federated_distillation as fd
from edge.protocols._base import Stateful, Stateless, adopt, flatten, message, weights
from edge.protocols._local import generator, summary, train
from edge.ranges import LARGEST_RATE
from edge.specs import ProtocolSpec

SEEDS = SAMPLES.name


@dataclass(frozen=True, kw_only=True)
class Mix2FldSettings(fd.FdSettings):
    """The algorithm's own knobs, beside those of federated distillation.

    seeds: mixed-up samples a device sends, once. mixup_lambda: of the first label; all devices must agree on it.
    server_steps, server_batch, server_rate: of the conversion, each round.
    """

    seeds: int = 50
    mixup_lambda: float = 0.1
    server_steps: int = 60
    server_batch: int = 32
    server_rate: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.seeds, self.server_steps, self.server_batch) < 1:
            raise ValueError("seeds, server_steps and server_batch must be at least 1")
        if not 0 < self.server_rate <= LARGEST_RATE:
            raise ValueError(f"server_rate must be above 0 and at most {LARGEST_RATE:g}")
        if not 0 < self.mixup_lambda < 0.5:
            raise ValueError("mixup_lambda must be above 0 and below 0.5: at 0.5 no inverse exists")


def objective(_settings: Mix2FldSettings) -> tuple[str, ...]:
    """The device only learns from its labels; the server's knowledge comes as weights."""
    return ("cross_entropy",)


def centre_objective(_settings: Mix2FldSettings) -> tuple[str, ...]:
    """Soft labels."""
    return ("soft_cross_entropy",)


def sends(_settings: Mix2FldSettings) -> tuple[MessageKind, ...]:
    """What devices send: mixed-up seeds once, and mean outputs."""
    return (SAMPLES, CLASS_OUTPUTS)


def seeds_format(context: ProtocolContext, settings: Mix2FldSettings) -> Format:
    """Mixed-up samples, with the label of the part `mixup_lambda`, and of the rest, behind them: (n, |x| + 2)."""
    size = prod(context.reference_x.shape[1:])
    return SAMPLES.format(context.reference_digest, (settings.seeds, size + 2), fewer=True)


@dataclass
class Mix2FldDevice(Stateless):
    """Trains on its labels, sends its mean outputs, and goes on from the server's weights."""

    context: ProtocolContext
    settings: Mix2FldSettings

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The server's model."""
        return {self.context.neighbours[0]: (weights(self.context),)}

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train, send, load."""
        seen = fd.Observed(self.context, engine)
        metrics = train(engine, self.context, self.settings, number, private=seen)
        messages = [message(fd.table(self.context), number, seen.means)]
        if number == 1:
            mixed = mixed_up(self.context.x, self.context.y, self.settings, generator(self.context, 0, 6))
            messages += [message(seeds_format(self.context, self.settings), number, mixed)] if len(mixed) else []
        parameters, (server,) = engine.parameters(), self.context.neighbours
        result = yield Exchange({server: messages}, {server: (WEIGHTS.name,)})
        return metrics | {"rejected_invalid": adopt(engine, parameters, result.of(WEIGHTS.name))}


@dataclass
class Mix2FldServer(Stateful):
    """The centre. x: (S, ...) the inversely mixed seeds. y: (S,) their labels."""

    STATE: ClassVar[tuple[str, ...]] = ("x", "y")
    context: ProtocolContext
    settings: Mix2FldSettings
    x: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))
    y: Array = field(default_factory=lambda: np.empty(0, np.int64))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Everybody's table and seeds."""
        forms = (fd.table(self.context), seeds_format(self.context, self.settings))
        return dict.fromkeys(self.context.neighbours, forms)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect, convert outputs to a model, send it to all."""
        context, settings = self.context, self.settings
        kinds = (fd.KIND, SEEDS) if number == 1 else (fd.KIND,)
        result = yield Exchange({}, dict.fromkeys(context.neighbours, kinds))
        received = result.of(fd.KIND)
        tables = {j: rows.astype(np.float64) for j, rows in received.items() if fd.plausible(rows)}
        if number == 1:
            seeds = {j: rows for j, rows in result.of(SEEDS).items() if labelled(rows, context.classes)}
            x, self.y = unmixed(seeds, settings.mixup_lambda)
            self.x = x.reshape(len(x), *context.reference_x.shape[1:])
        metrics = {"rejected_invalid": float(len(received) - len(tables)), "seeds": float(len(self.x))}
        if tables and len(self.x):
            metrics |= self._convert(number, engine, tables)
            model = message(weights(context), number, flatten(engine.parameters()))
            yield Exchange(dict.fromkeys(context.neighbours, (model,)), {})
        return metrics

    def _convert(self, number: int, engine: Engine, tables: Mapping[NodeId, Array]) -> Metrics:
        """Steps on the seeds."""
        settings = self.settings
        has = sum(rows.any(axis=1).astype(np.float64) for rows in tables.values())
        mean = sum(tables.values()) / np.maximum(has, 1)[:, None]
        hard = np.eye(self.context.classes)
        # Where no device has a label, the seeds' own label is all there is.
        mean = np.where(np.asarray(has)[:, None] > 0, mean, hard)
        wanted = ((hard + settings.gamma * mean) / (1 + settings.gamma)).astype(np.float32)
        random = generator(self.context, number)
        steps = []
        for _ in range(settings.server_steps):
            at = random.integers(len(self.x), size=settings.server_batch)
            batch = {"x": self.x[at], "target": wanted[self.y[at]]}
            steps.append(engine.step(batch, learning_rate=settings.server_rate))
        return summary(steps)


def mixed_up(x: Array, y: Array, settings: Mix2FldSettings, random: np.random.Generator) -> Array:
    """(n, |x| + 2): seeds of pairs of samples with different labels, and the two labels; none if there is one label.

    The pairs of labels are taken in turn, and each in both orders, so that other devices' can be matched.
    """
    labels = np.unique(y)
    pairs = [(a, b) for pair in combinations(labels, 2) for a, b in (pair, pair[::-1])]
    if not pairs:
        return np.empty((0, prod(x.shape[1:]) + 2), np.float32)
    order = random.permutation(len(pairs))
    rows = []
    for i in range(settings.seeds):
        a, b = pairs[order[i % len(pairs)]]
        first, second = (x[random.choice(np.flatnonzero(y == label))].ravel() for label in (a, b))
        rows.append(np.concatenate([settings.mixup_lambda * first + (1 - settings.mixup_lambda) * second, [a, b]]))
    return np.array(rows, np.float32)


def unmixed(seeds: Mapping[NodeId, Array], ratio: float) -> tuple[Array, Array]:
    """(x (S, |x|), labels (S,)) by inverse mixup of seeds of different devices with opposite labels.

    With soft labels (a: lambda, b: 1 - lambda) and (b: lambda, a: 1 - lambda) and l = lambda / (2 lambda - 1),
    l x_1 + (1 - l) x_2 has label a with weight l lambda + (1 - l)(1 - lambda) = 1; the other way round gives b.
    Each seed is used with one partner at most; without any pair both are empty.
    """
    inverse = ratio / (2 * ratio - 1)
    waiting: dict[tuple[int, int], list[tuple[NodeId, Array]]] = {}
    x, y = [], []
    for j in sorted(seeds):
        for row in seeds[j].astype(np.float64):
            sample, a, b = row[:-2], int(row[-2]), int(row[-1])
            others = waiting.get((b, a), [])
            match = next((k for k, (owner, _) in enumerate(others) if owner != j), None)
            if match is None:
                waiting.setdefault((a, b), []).append((j, sample))
                continue
            _, other = others.pop(match)
            x += [inverse * sample + (1 - inverse) * other, inverse * other + (1 - inverse) * sample]
            y += [a, b]
    return np.array(x, np.float32), np.array(y, np.int64)


def labelled(rows: Array, classes: int) -> bool:
    """Whether the last two columns hold different labels, and the rest is not enormous."""
    labels = rows[:, -2:]
    known = np.isin(labels, np.arange(classes)).all() and (labels[:, 0] != labels[:, 1]).all()
    return bool(known and np.abs(rows).max() < 1e6)


def create(context: ProtocolContext, settings: Mix2FldSettings) -> Protocol:
    """A device or the server."""
    return Mix2FldDevice(context, settings) if context.role == DEVICE else Mix2FldServer(context, settings)


SPEC = ProtocolSpec(
    settings=Mix2FldSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(SAMPLES, CLASS_OUTPUTS, WEIGHTS),
    centre="server",
    centre_objective=centre_objective,
    same_model=True,
    renamed={"ratio": "mixup_lambda"},
)
