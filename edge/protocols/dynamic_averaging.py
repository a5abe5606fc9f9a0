"""Dynamic averaging: weights travel only when a model has drifted too far from the last common one.

Kamp et al., "Efficient Decentralized Deep Learning by Dynamic Model Averaging", ECML-PKDD 2018. With r the
common reference and Delta the threshold, every `sync_interval` rounds a learner checks its *local condition*
||w - r||^2 <= Delta. While all hold, the divergence (1/m) sum ||w_i - mean||^2 is at most Delta, and nobody
sends weights. Otherwise the coordinator balances:

    B = violators;  v += |B|;  if v >= m: B = all, v = 0
    while B != all and ||mean_B w - r||^2 > Delta:  B += `augment` others, asked for their weights
    everyone in B continues from mean_B;  if B == all: r = mean_B, v = 0

The reference moves only on a full synchronisation. Beside 2 |B| models of P scalars, a check costs a few
numbers each way, which the paper's synchronous rounds leave out: every learner tells its distance, and is told
to go on, to send its weights, or what became of them.
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

Told = dict[NodeId, Sequence[Message]]

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
        told = [control(self.context, VERDICT), control(self.context, OUTCOME), weights(self.context)]
        return {self.context.neighbours[0]: told}

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
            heard = yield Exchange({centre: (status, model)}, {centre: (OUTCOME.name, form.kind)})
        else:
            heard = yield Exchange({centre: (status,)}, {centre: (VERDICT.name,)})
            verdict = number_of(heard, VERDICT.name, centre, GO_ON)
            if verdict == GO_ON:
                return metrics
            heard = yield Exchange({centre: (model,)} if verdict == SEND else {}, {centre: (OUTCOME.name, form.kind)})
        received = heard.of(form.kind)
        believed = near(received, mine)
        for mean in believed.values():
            if (outcome := number_of(heard, OUTCOME.name, centre, np.nan)) != outcome:
                break  # weights without a word on what they are: not used
            engine.load_parameters(unflatten(mean, parameters))
            if outcome != PARTIAL:
                self.reference, self.version = mean.astype(np.float32), np.array([outcome])
        return metrics | {"rejected_invalid": float(len(received) - len(believed))}


@dataclass
class Coordinator(Stateful):
    """The centre. reference: (1, P) float32, the last common model. violations: v of the paper."""

    STATE = ("reference", "version", "violations")
    context: ProtocolContext
    settings: DynamicAveragingSettings
    reference: Array = field(default_factory=lambda: np.empty((1, 0), np.float32))
    version: Array = field(default_factory=lambda: np.zeros(1))
    violations: Array = field(default_factory=lambda: np.zeros(1))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """Distance, reference version and samples seen, at each check; weights, when they are needed."""
        told = (control(self.context, STATUS, 3), weights(self.context))
        return dict.fromkeys(self.context.neighbours, told)

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Hear how far everybody is; balance if somebody is too far."""
        context, settings = self.context, self.settings
        if not self.reference.size:
            self.reference = flatten(engine.parameters())
        if number % settings.sync_interval:
            return {}
        heard = yield Exchange({}, dict.fromkeys(context.neighbours, (STATUS.name,)))
        said = {j: row[0] for j, row in heard.of(STATUS.name).items()}
        status = {j: row for j, row in said.items() if self._possible(row, number)}
        stale = {j for j, row in status.items() if row[1] != self.version[0]}
        fresh = [j for j in status if j not in stale]
        balance = _Balance(self, number, {j: float(status[j][2]) for j in status})
        for j in fresh:
            (balance.violators if status[j][0] > settings.threshold else balance.others).append(j)
        if balance.violators:
            yield from balance.settle()
        yield Exchange(balance.told | self._resync(stale, status, number), {})
        refused = len(said) - len(status) + balance.refused
        return {
            "violators": float(len(balance.violators)),
            "balanced": float(len(balance.models)),
            "rejected_invalid": float(refused),
        }

    def _possible(self, row: Array, number: int) -> bool:
        """Whether a learner can have said this: a distance, the round of a synchronisation, a number of samples."""
        return bool((row >= 0).all() and row[1] <= number and 0 < row[2] < SAMPLES)

    def _resync(self, stale: set[NodeId], status: Mapping[NodeId, Array], number: int) -> Told:
        """Who missed a synchronisation, or has joined since, starts from the reference."""
        said: Told = {}
        for j in sorted(stale):
            take = [message(control(self.context, VERDICT), number, [[TAKE]])]
            outcome = message(control(self.context, OUTCOME), number, [self.version])
            violated = status[j][0] > self.settings.threshold
            said[j] = [*([] if violated else take), outcome, message(weights(self.context), number, self.reference)]
        return said


@dataclass
class _Balance:
    """One balancing. models: the weights of its members. told: what everybody is told at the end."""

    centre: Coordinator
    number: int
    samples: Mapping[NodeId, float]
    violators: list[NodeId] = field(default_factory=list)
    others: list[NodeId] = field(default_factory=list)
    models: dict[NodeId, Array] = field(default_factory=dict)
    refused: int = 0

    def settle(self) -> Generator[Exchange, ExchangeResult, None]:
        """Collect members until their mean is near the reference, or all are in."""
        centre, settings = self.centre, self.centre.settings
        everybody = len(self.violators) + len(self.others)
        yield from self._collect(self.violators, ask=False)
        centre.violations = centre.violations + len(self.violators)
        waiting = [self.others[i] for i in shared(centre.context, self.number, 2).permutation(len(self.others))]
        if centre.violations[0] >= everybody:
            yield from self._collect(waiting, ask=True)
            waiting = []
        while waiting and not self._near():
            yield from self._collect(waiting[: settings.augment], ask=True)
            waiting = waiting[settings.augment :]
        self.others = waiting
        if not waiting and self.models:
            centre.reference = self.mean().astype(np.float32)
            centre.version, centre.violations = np.array([float(self.number)]), np.zeros(1)

    def mean(self) -> Array:
        """(1, P) float64."""
        return average(self.models, self.samples if self.centre.settings.weighted else None)

    @property
    def told(self) -> Told:
        """Members: the mean and whether it is the new reference; the others: go on."""
        context = self.centre.context
        go_on = message(control(context, VERDICT), self.number, [[GO_ON]])
        said: dict[NodeId, Sequence[Message]] = dict.fromkeys(self.others, (go_on,))
        if self.models:
            full = self.centre.version[0] == self.number
            outcome = message(control(context, OUTCOME), self.number, [[self.number if full else PARTIAL]])
            said |= dict.fromkeys(self.models, (outcome, message(weights(context), self.number, self.mean())))
        return said

    def _near(self) -> bool:
        """Whether the members' mean fulfils the condition."""
        return bool(self.models) and (
            squared_distance(self.mean(), self.centre.reference) <= self.centre.settings.threshold
        )

    def _collect(self, members: Sequence[NodeId], *, ask: bool) -> Generator[Exchange, ExchangeResult, None]:
        verdict = message(control(self.centre.context, VERDICT), self.number, [[SEND]])
        asked = dict.fromkeys(members, (verdict,)) if ask else {}
        heard = yield Exchange(asked, dict.fromkeys(members, (WEIGHTS.name,)))
        together = {**self.models, **heard.of(WEIGHTS.name)}
        self.models = agreeing(together)
        self.refused += len(together) - len(self.models)


def squared_distance(a: Array, b: Array) -> float:
    """||a - b||^2, in float64."""
    return float(((a.astype(np.float64) - b) ** 2).sum())


def number_of(heard: ExchangeResult, kind: str, sender: NodeId, otherwise: float) -> float:
    """The one number of a control message, or what stands for its absence."""
    values = heard.of(kind)
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
    centre="coordinator",
    centre_objective=objective,  # the coordinator starts from the same model: it is the first reference
    same_model=True,
    renamed={"every": "sync_interval"},
)
