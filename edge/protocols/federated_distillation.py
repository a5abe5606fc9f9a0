"""Federated distillation: devices exchange their mean outputs *by label*, K x K numbers, with a server.

Jeong et al., "Communication-Efficient On-FdDevice Machine Learning: Federated Distillation and
Augmentation under Non-IID Private Data", 2018; Seo et al., "Federated Knowledge Distillation", 2020.
No reference set and no model travels. With F(w, x) the softmax outputs:

    device   w <- steps on  CE(F(x), y) + gamma CE(F(x), T[y])          T: the teacher's table; none in round 1
             M_i[l] = mean of F(w, x) over the training batches' samples with label l, as they were trained on
    server   T_i[l] = mean of M_j[l] over the *other* devices j that have label l

The paper leaves labels that a device lacks undefined. Here a row of zeros says "none" (a mean output sums
to 1), the mean is over the devices that have the label, and a sample whose label nobody else has gets no
distillation term: a target of zeros has no gradient.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from edge.interfaces import (
    DEVICE,
    Array,
    Engine,
    Exchange,
    ExchangeResult,
    Format,
    Message,
    MessageKind,
    Metrics,
    NodeId,
    Protocol,
    ProtocolContext,
)
from edge.kinds import CLASS_OUTPUTS
from edge.protocols._base import Stateful, Stateless, message
from edge.protocols._local import LocalSettings, train
from edge.specs import ProtocolSpec

KIND = CLASS_OUTPUTS.name
TERM = "soft_cross_entropy"


@dataclass(frozen=True, kw_only=True)
class FdSettings(LocalSettings):
    """The algorithm's own knobs.

    gamma: weight of the distillation term; the paper does not give it.
    """

    gamma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.gamma < 0:
            raise ValueError("gamma must not be negative")


def objective(_settings: FdSettings) -> tuple[str, ...]:
    """Labels, and the teacher's row of the label."""
    return ("cross_entropy", TERM)


def sends(_settings: FdSettings) -> tuple[MessageKind, ...]:
    """What devices send."""
    return (CLASS_OUTPUTS,)


def table(context: ProtocolContext) -> Format:
    """Mean outputs by label."""
    return CLASS_OUTPUTS.format(context.reference_digest, (context.classes, context.classes))


class Observed:
    """The mean outputs by label, of the samples of a round's steps, each as it was just before its step."""

    def __init__(self, context: ProtocolContext, engine: Engine) -> None:
        self._setup, self._engine = context, engine
        self._sums, self._counts = np.zeros((context.classes, context.classes)), np.zeros(context.classes)

    def __call__(self, at: Array) -> dict[str, Array]:
        """Look at these private rows; adds nothing to the step."""
        labels = self._setup.y[at]
        np.add.at(self._sums, labels, self._engine.predict(self._setup.x[at]))
        np.add.at(self._counts, labels, 1)
        return {}

    @property
    def means(self) -> Array:
        """(K, K); a row of zeros for a label that was not seen."""
        means: Array = self._sums / np.maximum(self._counts, 1)[:, None]
        return means


@dataclass
class FdDevice(Stateful):
    """See `edge.interfaces.Protocol`. teacher: (K, K) float32, rows of zeros where there is nothing to learn from."""

    STATE: ClassVar[tuple[str, ...]] = ("teacher",)
    context: ProtocolContext
    settings: FdSettings
    teacher: Array = field(default_factory=lambda: np.empty((0, 0), np.float32))

    @property
    def server(self) -> NodeId:
        """The only neighbour."""
        return self.context.neighbours[0]

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """What the others do with each label."""
        return {self.server: (table(self.context),)}

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train towards labels and teacher, send the mean outputs, take the next teacher."""
        context, seen = self.context, Observed(self.context, engine)
        if not self.teacher.size:
            self.teacher = np.zeros((context.classes, context.classes), np.float32)
        metrics = train(
            engine,
            context,
            self.settings,
            number,
            private=lambda at: {**seen(at), "target": self.teacher[context.y[at]]},
            hyper={f"weight/{TERM}": self.settings.gamma if self.teacher.any() else 0.0},
        )
        outputs = message(table(context), number, seen.means)
        result = yield Exchange({self.server: (outputs,)}, {self.server: (KIND,)})
        received = result.of(KIND)
        valid = [rows for rows in received.values() if plausible(rows)]
        if valid:
            self.teacher = valid[0]
        return metrics | {"rejected_invalid": float(len(received) - len(valid))}


@dataclass
class FdServer(Stateless):
    """The centre: no model, only means."""

    context: ProtocolContext
    settings: FdSettings

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Everybody's table."""
        return dict.fromkeys(self.context.neighbours, (table(self.context),))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect, and send each device what the others do."""
        result = yield Exchange({}, dict.fromkeys(self.context.neighbours, (KIND,)))
        received = result.of(KIND)
        tables = {j: rows.astype(np.float64) for j, rows in received.items() if plausible(rows)}
        yield Exchange(self.teachers(tables, number), {})
        return {"rejected_invalid": float(len(received) - len(tables))}

    def teachers(self, tables: Mapping[NodeId, Array], number: int) -> dict[NodeId, Sequence[Message]]:
        """To each device that spoke, the others' means."""
        form = table(self.context)
        return {j: (message(form, number, rows),) for j, rows in leave_one_out(tables).items()}


def plausible(rows: Array) -> bool:
    """Whether every row is a distribution, or the zeros that stand for none."""
    total = rows.sum(axis=1, dtype=np.float64)
    fits = (np.abs(total - 1) < 1e-2) | ~rows.any(axis=1)
    return bool(fits.all() and rows.min() >= -1e-3)


def leave_one_out(tables: Mapping[NodeId, Array]) -> dict[NodeId, Array]:
    """For each device, by label, the mean over the *others* that have it: (sum - own) / (count - own); zeros if none.

    Summed in the order of names, so that the order of arrival does not matter.
    """
    names = sorted(tables)
    has = {j: tables[j].any(axis=1) for j in names}
    means = {}
    for i in names:
        others = [j for j in names if j != i]
        count = sum((has[j].astype(np.float64) for j in others), np.zeros(len(tables[i])))
        total = sum((tables[j] for j in others), np.zeros_like(tables[i]))
        means[i] = total / np.maximum(count, 1)[:, None]
    return means


def create(context: ProtocolContext, settings: FdSettings) -> Protocol:
    """A device or the server."""
    return FdDevice(context, settings) if context.role == DEVICE else FdServer(context, settings)


SPEC = ProtocolSpec(
    settings=FdSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(CLASS_OUTPUTS,),
    growing=True,
    centre="server",
)
