"""Compressed federated distillation: soft labels of a public set in b bits, as changes, entropy-coded.

Sattler, Marban, Rischke, Samek, "CFD: Communication-Efficient Federated Distillation via Soft-Label
Quantization and CodeChannel Coding", IEEE TNSE 2022. With Q_b the constrained quantiser (`edge.quantiser`):

    device   distils towards the server's last labels, trains on its own data, sends Q_b(outputs on R)
    server   averages what came, distils that into its own model, and sends Q_b'(its outputs on R) to all
             (`dual` off: sends the average itself, as everybody takes part)

What goes over the wire is the difference from the same sender's last codes, modulo 2^b, packed with
DEFLATE (the paper uses CABAC); with b = 1 it is one number a row, 0 for the class it had. Every
`keyframe_every` rounds all is sent, so that a lost message is forgotten; a change to something the
receiver does not have gives rows with wrong sums, which are not used.

With a `weighting` devices send (w p, 1 - w), a class more in which they abstain (`edge.weighting`), and the server
distils and sends the weighted mean. Not the paper's, and not in one bit, in which no weight can be told.

Outputs that are no distributions are rounded one by one: code = round((value - low) / (high - low) (2^b - 1)), of a
multi-label model between 0 and 1, of a regression between -`span` and `span`, in which its numbers are clipped. Any
codes are possible then, and nothing shows that a change is to something the receiver does not have; so all is sent in
every round.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar

import numpy as np

from edge import quantiser, weighting
from edge.errors import ConfigError
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
    everybody,
)
from edge.kinds import CODES
from edge.protocols._base import Stateful, message
from edge.protocols._consensus import chosen, state
from edge.protocols._local import LocalSettings, batches, generator, summary, train
from edge.ranges import LARGEST_RATE
from edge.specs import ProtocolSpec

KIND = CODES.name
TERM = "soft_cross_entropy(reference)"
FEWEST = 4
"""bits of a regression's numbers, at least"""


@dataclass(frozen=True, kw_only=True)
class CfdSettings(LocalSettings):
    """The algorithm's own knobs.

    weighting: how much the devices' opinions count: none for all alike, as in the paper, or a name of `edge.weighting`.
    up_bits, down_bits: b of devices and server, 1 to 8. keyframe_every: rounds. reference_batch: reference rows a
    step. distillation_weight: weight of the distillation term. dual: the server distils into a model of its own first;
    server_steps, server_rate: of that. span: of a regression, the largest number that is sent, in standard units, like
    the labels that a model is trained with; its up_bits and down_bits are 4 or more.
    """

    weighting: str = weighting.NONE
    up_bits: int = 1
    down_bits: int = 1
    keyframe_every: int = 10
    reference_batch: int = 32
    distillation_weight: float = 1.0
    dual: bool = True
    server_steps: int = 50
    server_rate: float = 0.1
    span: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (1 <= self.up_bits <= 8 and 1 <= self.down_bits <= 8):
            raise ValueError("up_bits and down_bits must be 1 to 8")
        weighting.check(self.weighting)
        if self.weighting != weighting.NONE and self.up_bits == 1:
            raise ValueError(f"weighting '{self.weighting}' needs up_bits of 2 or more: one bit tells no weights")
        if not 0 < self.server_rate <= LARGEST_RATE:
            raise ValueError(f"server_rate must be above 0 and at most {LARGEST_RATE:g}")
        if not self.span > 0:
            raise ValueError("span must be above 0")
        if min(self.keyframe_every, self.reference_batch, self.server_steps) < 1 or self.distillation_weight < 0:
            raise ValueError(
                "keyframe_every, reference_batch and server_steps must be at least 1, distillation_weight not negative"
            )


def objective(_settings: CfdSettings) -> tuple[str, ...]:
    """Labels, and the server's soft labels."""
    return ("cross_entropy", TERM)


def sends(_settings: CfdSettings) -> tuple[MessageKind, ...]:
    """What devices send."""
    return (CODES,)


@dataclass(frozen=True)
class CodeChannel:
    """How soft labels (R, K) become small integers, and back.

    bits: b. form: of the message. ends: the range of outputs that are no distributions; None for distributions.
    """

    bits: int
    form: Format
    ends: tuple[float, float] | None = None

    @property
    def units(self) -> int:
        """What the codes of a row sum to: 2^b - 1."""
        return (1 << self.bits) - 1

    def quantise(self, rows: Array) -> Array:
        """(R, K) distributions -> codes: (R, K), or for one bit the class of each row (R, 1)."""
        if self.ends:
            low, high = self.ends
            codes: Array = np.rint((rows.clip(low, high) - low) / (high - low) * self.units).astype(np.int64)
            return codes
        if self.bits == 1:
            first: Array = rows.argmax(axis=1)[:, None].astype(np.int64)
            return first
        return quantiser.codes(rows, self.units)

    def rows(self, codes: Array, classes: int) -> Array | None:
        """The distributions (R, K) float32 that codes stand for; None if they stand for none."""
        if self.ends:
            low, high = self.ends
            values: Array = (low + codes / self.units * (high - low)).astype(np.float32)
            return values if ((codes >= 0) & (codes <= self.units)).all() else None
        if self.bits == 1:
            known = (codes >= 0).all() and (codes < classes).all()
            return np.array(np.eye(classes, dtype=np.float32)[codes[:, 0]]) if known else None
        if (codes.sum(axis=1) != self.units).any():
            return None
        distributions: Array = (codes / self.units).astype(np.float32)
        return distributions

    def change(self, new: Array, old: Array | None, classes: int) -> Array:
        """What is sent: the difference modulo the number of codes, or (without `old`) the codes themselves."""
        changed: Array = new if old is None else (new - old) % self.modulus(classes)
        return changed

    def apply(self, sent: Array, old: Array | None, classes: int) -> Array:
        """The inverse of `change`."""
        return sent.astype(np.int64) if old is None else (old + sent.astype(np.int64)) % self.modulus(classes)

    def modulus(self, classes: int) -> int:
        """How many codes there are."""
        return classes if self.bits == 1 and not self.ends else self.units + 1


def channel_of(context: ProtocolContext, bits: int, span: float, columns: int) -> CodeChannel:
    """For rows of so many entries about the reference set, in `bits` bits. span: of a regression's."""
    digest = sha256(context.reference_digest + bytes([bits])).digest()[:8]
    task = context.task
    ends = None if task.simplex else (0.0, 1.0) if task.bounded else (-span, span)
    width = 1 if bits == 1 and not ends else columns
    return CodeChannel(bits, CODES.format(digest, (len(context.reference_x), width)), ends)


@dataclass
class _CfdEnd(Stateful):
    """Either end: what goes up and what comes down."""

    context: ProtocolContext
    settings: CfdSettings

    def __post_init__(self) -> None:
        settings, context = self.settings, self.context
        self.columns = weighting.columns(chosen(settings.weighting, context.task), context.classes)
        self.up = channel_of(context, settings.up_bits, settings.span, self.columns)
        self.down = channel_of(context, settings.down_bits, settings.span, context.classes)

    def is_key(self, number: int) -> bool:
        """Whether all is sent in this round, not only changes; the first is one."""
        return (number - 1) % self.settings.keyframe_every == 0 or self.up.ends is not None


@dataclass
class CfdDevice(_CfdEnd):
    """See `edge.interfaces.Protocol`. sent: our last codes. received: the server's. labels: (R, K), what those mean."""

    STATE: ClassVar[tuple[str, ...]] = ("sent", "received", "labels")
    sent: Array = field(default_factory=lambda: np.empty((0, 0), np.int64))
    received: Array = field(default_factory=lambda: np.empty((0, 0), np.int64))
    labels: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The server's labels."""
        return {self.context.neighbours[0]: (self.down.form,)}

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train towards labels and the server's labels, send ours, take the server's next."""
        context, (server,) = self.context, self.context.neighbours
        target = self.labels if len(self.labels) else np.zeros((len(context.reference_x), context.classes), np.float32)
        metrics = train(
            engine,
            context,
            self.settings,
            number,
            public=lambda of: {"reference_target": target[of]},
            reference_batch=self.settings.reference_batch,
            hyper={f"weight/{TERM}": self.settings.distillation_weight * bool(len(self.labels))},
        )
        key = self.is_key(number)
        own = state(self.settings.weighting, context, engine, engine.predict(context.reference_x))
        new = self.up.quantise(context.perturb(own, number))
        change = self.up.change(new, None if key or not len(self.sent) else self.sent, self.columns)
        self.sent = new
        result = yield Exchange({server: (message(self.up.form, number, change),)}, {server: (KIND,)})
        arrived = result.of(KIND)
        table = take(self.down, arrived.get(server), None if key else self.received, context.classes)
        if table:
            self.received, self.labels = table
        return metrics | {"rejected_invalid": float(len(arrived)) - float(table is not None)}


@dataclass
class CfdServer(_CfdEnd):
    """The centre.

    sent: our last codes. received: (devices, R, K or 1), theirs. known: (devices,) whether we have them.
    """

    STATE: ClassVar[tuple[str, ...]] = ("sent", "received", "known")
    sent: Array = field(default_factory=lambda: np.empty((0, 0), np.int64))
    received: Array = field(default_factory=lambda: np.empty((0, 0, 0), np.int64))
    known: Array = field(default_factory=lambda: np.empty(0, np.int64))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.known = np.zeros(len(self.context.neighbours), np.int64)
        self.received = np.zeros((len(self.context.neighbours), *self.up.form.shape), np.int64)

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Everybody's labels."""
        return dict.fromkeys(self.context.neighbours, (self.up.form,))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect, average, distil, send to all."""
        context, settings, names = self.context, self.settings, self.context.neighbours
        arrived = (yield Exchange({}, dict.fromkeys(names, (KIND,)))).of(KIND)
        key = self.is_key(number)
        tables: dict[NodeId, Array] = {}
        for i, j in enumerate(names):
            old = None if key or not self.known[i] else self.received[i]
            table = take(self.up, arrived.get(j), old, self.columns)
            self.known[i] = table is not None
            if table:
                self.received[i], tables[j] = table
        metrics: Metrics = {"rejected_invalid": float(len(arrived) - len(tables))}
        if not tables:
            return metrics
        aggregated = context.aggregate(tables, None)
        if context.aggregate is not everybody:
            metrics["rejected_by_aggregator"] = float(len(tables) - len(aggregated))
        mean = np.mean([rows.astype(np.float64) for rows in aggregated.values()], axis=0)
        mean = weighting.target(mean, context.classes)
        if settings.dual:
            metrics |= self._distil(number, engine, mean.astype(np.float32))
            mean = engine.predict(context.reference_x)
        new = self.down.quantise(mean)
        change = self.down.change(new, None if key or not len(self.sent) else self.sent, context.classes)
        self.sent = new
        yield Exchange(dict.fromkeys(names, (message(self.down.form, number, change),)), {})
        return metrics

    def _distil(self, number: int, engine: Engine, target: Array) -> Metrics:
        """Steps towards the mean of the devices. Labels there are none: their weight is 0."""
        context, size = self.context, self.settings.reference_batch
        order = batches(len(context.reference_x), size, generator(context, number))
        steps, label = [], np.zeros((1, *context.y.shape[1:]), context.y.dtype)
        for _ in range(self.settings.server_steps):
            of = next(order)
            x = context.reference_x[of]
            batch = {"x": x[:1], "labels": label, "reference_x": x, "reference_target": target[of]}
            hyper = {f"weight/{context.supervision}": 0.0, f"weight/{TERM}": 1.0}
            steps.append(engine.step(batch, learning_rate=self.settings.server_rate, **hyper))
        return summary(steps)


def take(channel: CodeChannel, sent: Array | None, old: Array | None, classes: int) -> tuple[Array, Array] | None:
    """(codes, distributions) of a message, or None if there is none, or if it changes something we do not have."""
    if sent is None or not ((sent >= 0) & (sent <= 255)).all():
        return None
    if old is not None and not len(old):
        old = None  # it may be a whole one; its rows will show
    codes = channel.apply(sent, old, classes)
    rows = channel.rows(codes, classes)
    return None if rows is None else (codes, rows)


def create(context: ProtocolContext, settings: CfdSettings) -> Protocol:
    """A device or the server. Raises ConfigError: too few bits for the numbers of a regression."""
    if not context.task.bounded and min(settings.up_bits, settings.down_bits) < FEWEST:
        raise ConfigError(
            f"up_bits {settings.up_bits}, down_bits {settings.down_bits}: the numbers of a regression need {FEWEST} to "
            "8 bits each; set both"
        )
    return CfdDevice(context, settings) if context.role == DEVICE else CfdServer(context, settings)


SPEC = ProtocolSpec(
    settings=CfdSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(CODES,),
    growing=True,
    perturbs=(CODES,),
    aggregates=(CODES,),
    only_largest=lambda settings: settings.up_bits == 1,
    centre="server",
    centre_objective=objective,  # the same bundle; its labelled term is given no weight
    renamed={"pull": "distillation_weight"},
    tasks=("classification", "multi-label", "regression"),
)
