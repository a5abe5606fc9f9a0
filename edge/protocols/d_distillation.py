"""D-Distillation: neighbours exchange soft labels of the reference set, never weights.

Of a multi-label model or a regression the s_n below are its sigmoid outputs or its numbers; nothing else changes.

Bistritz, Mann, Bambos, "Distributed Distillation for On-Device Learning", NeurIPS 2020. With s_n
(R, K) the softmax outputs of device n on the reference set, and W the mixing weights:

    z_n(0)   = s_n(0)
    theta_n <- local steps on  CE(private) + rho * mean_r || s_n(r) - z_n(r) ||^2
    z_n(t+1) = z_n(t) + sum_m W_nm (q_m(t) - q_n(t)) + s_n(t+1) - s_n(t)

q_n is z_n as the neighbours decode it. Unquantised, q = z, and this is the dynamic average consensus
sum_m W_nm z_m(t) + s_n(t+1) - s_n(t). Written with q it keeps the mean of the z equal to the mean of
the s *whatever the codec does* (W is symmetric, so every difference is added once and taken away
once), and what the codec dropped stays in z and goes out later: error feedback without a buffer.
Mixing z with quantised neighbours instead would lose the mean for ever. Every device thus learns
from the whole network, not only from its neighbours.

That is a reconstruction of the paper's update, whose text leaves constants open; it is `weighting` = none with
`loss` = squared-error. By default a device instead sends (w s, 1 - w), rows of K + 1 entries with w how sure it is of a
row (`edge.weighting`); all of the above holds for them as it does for s. Of its estimate z of their mean, N the first K
entries and D = 1 - z_K+1 the weight behind them, a device distils N / D by cross-entropy, each row counting as much as
weight is behind it:

    rho * mean_r (D(r) / mean D) CE(N(r) / D(r), s_n(r))  =  -rho / mean D * mean_r N(r) . log s_n(r)

Who has never seen a class does not outvote who has; what nobody is sure of, and would become true by being repeated,
hardly counts; and nothing is divided by the small D of a single row, whose ratio is all noise.

`mixing` chooses how the estimate z is kept:
    tracking  as above, and z_n(t+1) += forgetting (s_n(t+1) - z_n(t+1)), which leaves the mean of the z as it is. A
              message lost in one direction shifts that mean, until it is forgotten or all start anew.
    plain     z_n = sum_m W_nm q_m with q the coded s: only the neighbours' opinions, nothing to keep.
    push-sum  tracking on running sums (Hadjicostis, Vaidya, Dominguez-Garcia 2016): a device splits
              its mass (s-values and a weight) evenly among itself and its neighbours, and sends the
              *total* it has ever given; who misses a message gets the missed mass with the next one.
              z is mass over weight. Nothing is lost and anybody may join; costs float32 and a row more.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import ClassVar, Literal

import numpy as np

from edge import weighting
from edge.interfaces import (
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
from edge.kinds import MASS, OUTPUTS, SOFT_LABELS
from edge.protocols._base import PLAUSIBLE, Stateful, message, outputs
from edge.protocols._consensus import chosen, distilled, state
from edge.protocols._local import LocalSettings, shared, train
from edge.specs import ProtocolSpec, UpdateRule
from edge.task import CLASSIFICATION, Task

TERMS = {"cross-entropy": "soft_cross_entropy(reference)", "squared-error": "squared_error(reference)"}
RHO = {"cross-entropy": 1.0, "squared-error": 5.0}
FORGETTING = 0.1
SMALLEST = 1e-6
"""A weight below this has not come to mean anything yet."""


@dataclass(frozen=True, kw_only=True)
class DDistillationSettings(LocalSettings):
    """The algorithm's own knobs.

    weighting: how much the devices' opinions count: none for all alike, as in the paper, or a name of `edge.weighting`;
    absent, entropy where outputs are distributions, and none for multi-label models and regressions.
    loss: of the distillation: cross-entropy, or squared-error, the paper's.
    distillation_weight: rho, the weight of the distillation term; absent, 1 for cross-entropy, whose gradient in the
    logits is of the size of that of the labels, and 5 for squared-error.
    reference_batch: reference rows a step.
    mixing: how the estimate of the network's mean is kept: tracking, plain or push-sum.
    subset: reference rows that are talked about in a round, drawn from the seed that all share; 0 for all.
    reinitialise_every: rounds after which every device sets z = s again, which ends what lost messages
    and late joiners did to the mean; 0 for never.
    forgetting: of tracking, the share of z that every round becomes s again: the mean of the z stays that of the s, and
    what a liar or a lost message added fades; absent, 0.1 where opinions are weighted, and 0, the paper's, otherwise.
    All devices must agree on these four.
    """

    weighting: str | None = None
    loss: Literal["cross-entropy", "squared-error"] = "cross-entropy"
    distillation_weight: float | None = None
    reference_batch: int = 32
    mixing: Literal["tracking", "plain", "push-sum"] = "tracking"
    subset: int = 0
    reinitialise_every: int = 0
    forgetting: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weighting is not None:
            weighting.check(self.weighting)
        if (
            (self.distillation_weight or 0) < 0
            or self.reference_batch < 1
            or min(self.subset, self.reinitialise_every) < 0
        ):
            raise ValueError(
                "distillation_weight, subset and reinitialise_every must not be negative, reference_batch at least 1"
            )
        if not 0 <= (self.forgetting or 0) < 1:
            raise ValueError("forgetting must be from 0 to less than 1")
        if self.mixing != "tracking" and self.forgetting:
            raise ValueError(f"{self.mixing} has nothing to forget: leave forgetting out, or choose tracking")
        if self.mixing == "push-sum" and (self.subset or self.reinitialise_every):
            raise ValueError("push-sum talks about all rows and never starts anew; leave subset and reinitialise_every")

    @property
    def rho(self) -> float:
        """The weight of the distillation term."""
        if self.distillation_weight is None:
            return RHO[self.loss]
        return self.distillation_weight


def objective(settings: DDistillationSettings) -> tuple[str, ...]:
    """Supervision, and the pull towards z."""
    return ("cross_entropy", TERMS[settings.loss])


def update(settings: DDistillationSettings) -> UpdateRule:
    """The paper's is plain gradient descent; a third of its rounds are enough with momentum, which clipping tames."""
    return UpdateRule() if settings.loss == "squared-error" else UpdateRule("nesterov", 1.0)


def sends(settings: DDistillationSettings) -> tuple[MessageKind, ...]:
    """What devices send: their estimates, or running sums of their outputs."""
    return (MASS,) if settings.mixing == "push-sum" else (SOFT_LABELS,)


def aggregation(settings: DDistillationSettings, task: Task) -> str:
    """Weights are claims, which have to be judged; without them it is the paper's mean. Running sums take no rule."""
    weighted = chosen(settings.weighting, task) != weighting.NONE
    return "agreement" if weighted and settings.mixing != "push-sum" else "mean"


@dataclass
class DDistillation(Stateful):
    """See `edge.interfaces.Protocol`.

    s: (R, K) float64, our softmax outputs when z was last updated. z: (R, K) float64, our estimate of
    everybody's mean. Its rows sum to 1, its entries may leave [0, 1] for a while.
    answered: 1 once a neighbour has answered; until then there is nothing to be pulled towards.
    """

    STATE: ClassVar[tuple[str, ...]] = ("z", "s", "answered")
    context: ProtocolContext
    settings: DDistillationSettings
    s: Array = field(default_factory=lambda: np.empty((0, 0)))
    z: Array = field(default_factory=lambda: np.empty((0, 0)))
    answered: Array = field(default_factory=lambda: np.zeros(1))

    @property
    def weighting(self) -> str:
        """The weighting, or none."""
        return chosen(self.settings.weighting, self.context.task)

    @property
    def _forgetting(self) -> float:
        if self.settings.forgetting is None:
            return 0.0 if self.weighting == weighting.NONE else FORGETTING
        return self.settings.forgetting

    @property
    def columns(self) -> int:
        """Entries of a row: K, and the abstention where opinions are weighted."""
        return weighting.columns(self.weighting, self.context.classes)

    @property
    def form(self) -> Format:
        """What is talked about: the reference set, or a part of it that changes from round to round."""
        context, rows = self.context, len(self.context.reference_x)
        if not self.settings.subset:
            return outputs(context).format(context.reference_digest, (rows, self.columns))
        drawn = [context.shared_seed, self.settings.subset]
        digest = sha256(context.reference_digest + np.array(drawn, "<i8").tobytes()).digest()[:8]
        return outputs(context).format(digest, (min(rows, self.settings.subset), self.columns))

    def accepts(self) -> Mapping[NodeId, Sequence[Format]]:
        """The neighbours' estimates."""
        return dict.fromkeys(self.context.neighbours, (self.form,))

    def rows(self, number: int) -> Array:
        """The reference rows (R',) of round `number`, the same on every device."""
        total, wanted = len(self.context.reference_x), self.form.shape[0]
        if wanted == total:
            return np.arange(total)
        return np.sort(shared(self.context, number).choice(total, wanted, replace=False))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Send z, train while it travels, collect, update z."""
        every, rows, form = self.settings.reinitialise_every, self.rows(number), self.form
        if not self.z.size or (every and number % every == 0):
            self.s = self._outputs(engine)
            self.z = self.s.copy()
        plain = self.settings.mixing == "plain"
        update = message(form, number, (self.s if plain else self.z)[rows])
        neighbours = self.context.neighbours
        outgoing = yield Exchange(dict.fromkeys(neighbours, (update,)), {})

        metrics = self._train(number, engine)
        s = self._outputs(engine)

        received = (yield Exchange({}, dict.fromkeys(neighbours, (form.kind,)))).of(form.kind)
        valid = {j: values for j, values in received.items() if plausible(values, self.context.task, self.s)}
        z = self.s.copy() if plain else self.z.copy()
        for j, values in valid.items():
            z[rows] += self.context.weights[j] * (values.astype(np.float64) - outgoing.sent[j][form.kind].values)
        if not plain:
            z += s - self.s
            z[rows] += self._forgetting * (s - z)[rows]
        metrics["consensus_distance"] = float(np.abs(z - s).mean())
        metrics["rejected_invalid"] = float(len(received) - len(valid))
        self.z, self.s = z, s
        self.answered = np.maximum(self.answered, float(bool(valid)))
        return metrics

    def _train(self, number: int, engine: Engine) -> Metrics:
        context = self.context
        if self.settings.loss == "cross-entropy":
            target = distilled(self.z, context.classes, context.task).astype(np.float32)
        else:
            target = weighting.target(self.z, context.classes).astype(np.float32)
        return train(
            engine,
            self.context,
            self.settings,
            number,
            public=lambda of: {"reference_target": target[of]},
            reference_batch=self.settings.reference_batch,
            hyper={f"weight/{TERMS[self.settings.loss]}": self.settings.rho * float(self.answered[0])},
        )

    def _outputs(self, engine: Engine) -> Array:
        probabilities = engine.predict(self.context.reference_x)
        return state(self.weighting, self.context, engine, probabilities)


@dataclass
class PushSum(DDistillation):
    """Tracking that survives lost messages, late joiners and directed graphs.

    mass: (R + 1, K) float64: our share of everybody's s, and in the last row of our weight. given: what each
    neighbour has been given in all. taken: (neighbours, R + 1, K), what each has given us in all.
    """

    STATE: ClassVar[tuple[str, ...]] = ("z", "s", "answered", "mass", "given", "taken")
    mass: Array = field(default_factory=lambda: np.empty((0, 0)))
    given: Array = field(default_factory=lambda: np.empty((0, 0)))
    taken: Array = field(default_factory=lambda: np.empty((0, 0, 0)))

    @property
    def form(self) -> Format:
        """The running sums: the reference set's rows, and the weight."""
        return MASS.format(self.context.reference_digest, (len(self.context.reference_x) + 1, self.columns))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, ExchangeResult, Metrics]:
        """Give, send the total, train while it travels, take, update z."""
        context, form = self.context, self.form
        neighbours = context.neighbours
        if not self.z.size:
            self.s = self._shared(number - 1, engine)
            self.z = self.s.copy()
            self.mass = np.concatenate([self.s, np.ones((1, self.columns))])
            self.given = np.zeros_like(self.mass)
            self.taken = np.zeros((len(neighbours), *self.mass.shape))
        share = self.mass / (1 + len(neighbours))
        # What is kept is what the receivers can decode: rounding must not create mass either.
        total = (self.given + share).astype(np.float32).astype(np.float64)
        self.mass = self.mass - len(neighbours) * (total - self.given)
        self.given = total
        yield Exchange(dict.fromkeys(neighbours, (message(form, number, total),)), {})

        metrics = self._train(number, engine)
        s = self._shared(number, engine)

        received = (yield Exchange({}, dict.fromkeys(neighbours, (form.kind,)))).of(form.kind)
        valid, bound = 0, self._bound()
        for i, j in enumerate(neighbours):
            if j in received and plausible_mass(
                arrived := received[j].astype(np.float64) - self.taken[i], number, bound
            ):
                self.mass = self.mass + arrived
                self.taken[i] += arrived
                valid += 1
        self.mass[:-1] += s - self.s
        if self.mass[-1, 0] > SMALLEST:
            self.z = self.mass[:-1] / self.mass[-1]
        self.s = s
        self.answered = np.maximum(self.answered, float(valid > 0))
        metrics["consensus_distance"] = float(np.abs(self.z - s).mean())
        metrics["rejected_invalid"] = float(len(received) - valid)
        return metrics

    def _bound(self) -> float | None:
        """The largest output that is plausible; None for distributions, whose sums are checked, too."""
        task = self.context.task
        return None if task.simplex else 1.0 if task.bounded else PLAUSIBLE * (1 + float(np.abs(self.s).max()))

    def _shared(self, number: int, engine: Engine) -> Array:
        """The outputs that go into the sums: what noise and temperature do to them stays in the network's mean."""
        return self.context.perturb(self._outputs(engine), number).astype(np.float64)


def plausible(rows: Array, task: Task = CLASSIFICATION, own: Array | None = None) -> bool:
    """Whether rows (R, K) can be an honest z.

    z differs from a mean of distributions by differences of distributions, so its sums are 1, and 2 beyond either end
    is generous; a neighbour that sends 1e30 would otherwise end our training with one message. The same goes for
    probabilities of single labels. The numbers of a regression are at most PLAUSIBLE times as large as `own`, plus one.
    """
    if not task.bounded:
        return bool(np.abs(rows).max() <= PLAUSIBLE * (1 + (0.0 if own is None else np.abs(own).max())))
    summed = not task.simplex or np.abs(rows.sum(axis=1, dtype=np.float64) - 1).max() < 1e-2
    return bool(summed and rows.min() >= -2 and rows.max() <= 3)


def plausible_mass(arrived: Array, number: int, bound: float | None = None) -> bool:
    """Whether an honest neighbour can have given this much since its last message: a weight, and as much in every row.

    By round t a device cannot have held more weight than there are devices, of which it gives a part a round.
    bound: of the outputs, where they are no distributions.
    """
    rows, weight = arrived[:-1], arrived[-1]
    summed = bound is not None or np.abs(rows.sum(axis=1) - weight[0]).max() < 1e-2 * (1 + number)
    limit = 3 * (bound or 1.0) * (weight[0] + number)
    return bool(summed and np.ptp(weight) == 0 and 0 <= weight[0] <= 4 * number and np.abs(rows).max() <= limit)


def create(context: ProtocolContext, settings: DDistillationSettings) -> DDistillation:
    """A device that distils its whole network through its neighbours."""
    chosen(settings.weighting, context.task)
    return (PushSum if settings.mixing == "push-sum" else DDistillation)(context, settings)


_: type[Protocol] = DDistillation


SPEC = ProtocolSpec(
    settings=DDistillationSettings,
    objective=objective,
    create=create,
    sends=sends,
    kinds=(SOFT_LABELS, OUTPUTS, MASS),
    growing=True,
    tasks=("classification", "multi-label", "regression"),
    perturbs=(MASS,),
    aggregation=aggregation,
    renamed={"pull": "distillation_weight"},
    update=update,
)
