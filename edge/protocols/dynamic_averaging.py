"""Dynamic averaging: weights travel only when a model has drifted too far from the last common one.

Kamp et al., "Efficient Decentralized Deep Learning by Dynamic Model Averaging", ECML-PKDD 2018. With r the
common reference and Delta the threshold, every `sync_interval` rounds a learner checks its *local condition*
||w - r||^2 <= Delta. While all hold, the divergence (1/m) sum ||w_i - mean||^2 is at most Delta, and nobody
sends weights. Otherwise the coordinator balances:

    B = violators;  v += |B|;  if v >= m: B = all, v = 0
    while B != all and ||mean_B w - r||^2 > Delta:  B += `augment` others, asked for their weights
    everyone in B continues from mean_B;  if B == all: r = mean_B, v = 0

The reference moves only on a full synchronisation. Beside 2 |B| models of P scalars, a check costs a few
numbers each way, which the paper's synchronous rounds leave out: every learner sends its distance, and learns
whether to go on, to send its weights, or what became of them.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field

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
from edge.kinds import OUTCOME, STATUS, VERDICT, WEIGHTS
from edge.protocols._averaging import agreeing, average
from edge.protocols._base import Stateful, control, flatten, message, near, unflatten, weights
from edge.protocols._local import LocalSettings, shared, train
from edge.specs import ProtocolSpec
from edge.task import TASKS

Outgoing = dict[NodeId, Sequence[Message]]

GO_ON, SEND, TAKE = 0.0, 1.0, 2.0
"""Verdicts: keep training; send your weights and wait for the mean; wait for the reference."""
PARTIAL = -1.0
"""Outcome of a balancing that leaves the reference where it was; otherwise the round in which it last moved."""


SAMPLES = 1e9
"""More than any device sees; a limit on what one can weigh."""


@dataclass(frozen=True, kw_only=True)
class DynamicAveragingSettings(LocalSettings):
    """The algorithm's own knobs.

    threshold: Delta, in squared units of the parameters: tune it to the model.
    sync_interval: rounds from one check to the next. augment: learners added at a time while balancing.
    weighted: mean_B is weighted by the samples each learner has seen.
    """

    threshold: float = 1.0
    sync_interval: int = 1
    augment: int = 1
    weighted: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.threshold < 0 or self.sync_interval < 1 or self.augment < 1:
            raise ValueError("threshold must not be negative, sync_interval and augment at least 1")


def objective(_settings: DynamicAveragingSettings) -> tuple[str, ...]:
    """Plain supervision; any optimizer will do."""
    return ("cross_entropy",)


def sends(_settings: DynamicAveragingSettings) -> tuple[MessageKind, ...]:
    """What devices send."""
    return (STATUS, WEIGHTS)


@dataclass
class DynamicLearner(Stateful):
    """A device. reference: (1, P) float32, the last common model. version: the round in which it became that."""

    STATE = ("reference", "version", "seen")
    context: ProtocolContext
    settings: DynamicAveragingSettings
    reference: Array = field(default_factory=lambda: np.empty((1, 0), np.float32))
    version: Array = field(default_factory=lambda: np.zeros(1))
    seen: Array = field(default_factory=lambda: np.zeros(1))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The coordinator's verdict on each check; after a balancing, the mean and what it stands for."""
        forms = [control(self.context, VERDICT), control(self.context, OUTCOME), weights(self.context)]
        return {self.context.neighbours[0]: forms}

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Train; every so often, check the local condition, and take part in a balancing if need be."""
        context, settings, (centre,) = self.context, self.settings, self.context.neighbours
        if not self.reference.size:
            self.reference = flatten(engine.parameters())
        metrics = train(engine, context, settings, number)
        self.seen = self.seen + settings.local_steps * min(settings.batch_size, len(context.x))
        if number % settings.sync_interval:
            return metrics
        parameters = engine.parameters()
        mine, form = flatten(parameters), weights(context)
        away = squared_distance(mine, self.reference)
        status = message(control(context, STATUS, 3), number, [[away, self.version[0], self.seen[0]]])
        model = message(form, number, mine)
        violated = away > settings.threshold
        metrics |= {"distance": away, "violated": float(violated)}
        if violated:
            result = yield Exchange({centre: (status, model)}, {centre: (OUTCOME.name, form.kind)})
        else:
            result = yield Exchange({centre: (status,)}, {centre: (VERDICT.name,)})
            verdict = number_of(result, VERDICT.name, centre, GO_ON)
            if verdict == GO_ON:
                return metrics
            result = yield Exchange({centre: (model,)} if verdict == SEND else {}, {centre: (OUTCOME.name, form.kind)})
        received = result.of(form.kind)
        valid = near(received, mine)
        for mean in valid.values():
            if (outcome := number_of(result, OUTCOME.name, centre, np.nan)) != outcome:
                break  # weights whose meaning did not arrive: not used
            engine.load_parameters(unflatten(mean, parameters))
            if outcome != PARTIAL:
                self.reference, self.version = mean.astype(np.float32), np.array([outcome])
        return metrics | {"rejected_invalid": float(len(received) - len(valid))}


@dataclass
class Coordinator(Stateful):
    """The centre. reference: (1, P) float32, r, the last common model. violations: (1,) v. version: as of a learner."""

    STATE = ("reference", "version", "violations")
    context: ProtocolContext
    settings: DynamicAveragingSettings
    reference: Array = field(default_factory=lambda: np.empty((1, 0), np.float32))
    version: Array = field(default_factory=lambda: np.zeros(1))
    violations: Array = field(default_factory=lambda: np.zeros(1))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Distance, reference version and samples seen, at each check; weights, when they are needed."""
        forms = (control(self.context, STATUS, 3), weights(self.context))
        return dict.fromkeys(self.context.neighbours, forms)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Collect ||w_i - r||^2 of all learners i; balance if it exceeds Delta for one of them."""
        context, Delta = self.context, self.settings.threshold
        if not self.reference.size:
            self.reference = flatten(engine.parameters())
        if number % self.settings.sync_interval:
            return {}
        result = yield Exchange({}, dict.fromkeys(context.neighbours, (STATUS.name,)))
        received = {i: row[0] for i, row in result.of(STATUS.name).items()}
        status = {i: row for i, row in received.items() if self._possible(row, number)}
        stale = {i for i, (_, version, _) in status.items() if version != self.version[0]}
        violators = [i for i, (distance, _, _) in status.items() if i not in stale and distance > Delta]
        others = [i for i in status if i not in stale and i not in violators]
        balancing = Balancing(self, number, {i: float(row[2]) for i, row in status.items()}, others)
        if violators:
            yield from balancing.run(violators)
        yield Exchange(balancing.messages() | self._resync(stale, status, number), {})
        return {
            "violators": float(len(violators)),
            "balanced": float(len(balancing.B)),
            "rejected_invalid": float(len(received) - len(status) + balancing.rejected),
        }

    def _possible(self, row: Array, number: int) -> bool:
        """Whether a learner can have sent this: a distance, the round of a synchronisation, a number of samples."""
        return bool((row >= 0).all() and row[1] <= number and 0 < row[2] < SAMPLES)

    def _resync(self, stale: set[NodeId], status: Mapping[NodeId, Array], number: int) -> Outgoing:
        """Send r to whoever missed a synchronisation, or has joined since."""
        outgoing: Outgoing = {}
        for i in sorted(stale):
            take = [message(control(self.context, VERDICT), number, [[TAKE]])]
            outcome = message(control(self.context, OUTCOME), number, [self.version])
            violated = status[i][0] > self.settings.threshold
            outgoing[i] = [*([] if violated else take), outcome, message(weights(self.context), number, self.reference)]
        return outgoing


@dataclass
class Balancing:
    """One balancing: Algorithm 2 of the paper.

    B: learner -> its weights (1, P). others: the learners outside B, none of them a violator. samples: seen by each.
    rejected: models that were absurd.
    """

    centre: Coordinator
    number: int
    samples: Mapping[NodeId, float]
    others: list[NodeId]
    B: dict[NodeId, Array] = field(default_factory=dict)
    rejected: int = 0

    def run(self, violators: Sequence[NodeId]) -> Generator[Exchange, ExchangeResult, None]:
        """Grow B until ||mean_B w - r||^2 <= Delta, or all are in it."""
        centre, augment = self.centre, self.centre.settings.augment
        m = len(violators) + len(self.others)
        yield from self._add(violators, ask=False)
        centre.violations = centre.violations + len(violators)
        waiting = [self.others[i] for i in shared(centre.context, self.number, 2).permutation(len(self.others))]
        if centre.violations[0] >= m:
            yield from self._add(waiting, ask=True)
            waiting = []
        while waiting and not self._balanced():
            yield from self._add(waiting[:augment], ask=True)
            waiting = waiting[augment:]
        self.others = waiting
        if not waiting and self.B:
            centre.reference = self.mean().astype(np.float32)
            centre.version, centre.violations = np.array([float(self.number)]), np.zeros(1)

    def mean(self) -> Array:
        """mean_B w, (1, P) float64."""
        return average(self.B, self.samples if self.centre.settings.weighted else None)

    def messages(self) -> Outgoing:
        """What everybody is sent at the end: B the mean, and whether it is the new r; the others: go on."""
        context = self.centre.context
        go_on = message(control(context, VERDICT), self.number, [[GO_ON]])
        outgoing: Outgoing = dict.fromkeys(self.others, (go_on,))
        if self.B:
            full = self.centre.version[0] == self.number
            outcome = message(control(context, OUTCOME), self.number, [[self.number if full else PARTIAL]])
            outgoing |= dict.fromkeys(self.B, (outcome, message(weights(context), self.number, self.mean())))
        return outgoing

    def _balanced(self) -> bool:
        """Whether ||mean_B w - r||^2 <= Delta."""
        r, Delta = self.centre.reference, self.centre.settings.threshold
        return bool(self.B) and squared_distance(self.mean(), r) <= Delta

    def _add(self, learners: Sequence[NodeId], *, ask: bool) -> Generator[Exchange, ExchangeResult, None]:
        """Collect the weights of more learners. ask: they do not send them by themselves."""
        verdict = message(control(self.centre.context, VERDICT), self.number, [[SEND]])
        asked = dict.fromkeys(learners, (verdict,)) if ask else {}
        result = yield Exchange(asked, dict.fromkeys(learners, (WEIGHTS.name,)))
        together = {**self.B, **result.of(WEIGHTS.name)}
        self.B = agreeing(together)
        self.rejected += len(together) - len(self.B)


def squared_distance(a: Array, b: Array) -> float:
    """||a - b||^2, in float64."""
    return float(((a.astype(np.float64) - b) ** 2).sum())


def number_of(result: ExchangeResult, kind: str, sender: NodeId, otherwise: float) -> float:
    """The one number of a control message, or what stands for its absence."""
    values = result.of(kind)
    return float(values[sender][0, 0]) if sender in values else otherwise


def create(context: ProtocolContext, settings: DynamicAveragingSettings) -> Protocol:
    """A learner or the coordinator."""
    return DynamicLearner(context, settings) if context.role == DEVICE else Coordinator(context, settings)


SPEC = ProtocolSpec(
    settings=DynamicAveragingSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(STATUS, WEIGHTS, VERDICT, OUTCOME),
    growing=True,
    centre="coordinator",
    centre_objective=objective,  # the coordinator starts from the same model: it is the first reference
    same_model=True,
    tasks=tuple(TASKS),
    renamed={"every": "sync_interval"},
)
