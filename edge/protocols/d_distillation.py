"""D-Distillation: neighbours exchange what they believe about the reference set, never weights.

Bistritz, Mann, Bambos, "Distributed Distillation for On-Device Learning", NeurIPS 2020. With s_n
(R, K) the softmax outputs of device n on the reference set, and W the mixing weights:

    z_n(0)   = s_n(0)
    theta_n <- local steps on  CE(private) + pull * mean_r || s_n(r) - z_n(r) ||^2
    z_n(t+1) = z_n(t) + sum_m W_nm (q_m(t) - q_n(t)) + s_n(t+1) - s_n(t)

q_n is z_n as the neighbours decode it. Unquantised, q = z, and this is the dynamic average consensus
sum_m W_nm z_m(t) + s_n(t+1) - s_n(t). Written with q it keeps the mean of the z equal to the mean of
the s *whatever the codec does* (W is symmetric, so every difference is added once and taken away
once); mixing z with quantised neighbours instead would lose that for ever. Every device thus learns
from the whole network, not only from its neighbours.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from edge.interfaces import Array, Engine, Exchange, Expected, Heard, Message, Metrics, Protocol, Setup
from edge.protocols._local import LocalSettings, train

OBJECTIVE = ("cross_entropy", "squared_error(reference)")
PULL = "weight/squared_error(reference)"


@dataclass(frozen=True, kw_only=True)
class Settings(LocalSettings):
    """The algorithm's own knobs.

    pull: rho, the weight of the distillation term; it interacts with the learning rate (with 0.1, 5 does
    well on digits, 20 diverges).
    reference_batch: reference rows a step.
    reinitialise_every: rounds after which every device sets z = s again, which ends what lost messages
    and late joiners did to the mean; 0 for never. All devices must agree on it.
    """

    pull: float = 5.0
    reference_batch: int = 32
    reinitialise_every: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.pull < 0 or self.reference_batch < 1 or self.reinitialise_every < 0:
            raise ValueError("pull and reinitialise_every must not be negative, reference_batch at least 1")


@dataclass
class DDistillation:
    """See `edge.interfaces.Protocol`.

    s: (R, K) float64, our softmax outputs when z was last updated. z: (R, K) float64, our estimate of
    everybody's mean. Its rows sum to 1, its entries may leave [0, 1] for a while.
    """

    KIND: ClassVar[str] = "soft-labels"
    setup: Setup
    settings: Settings
    s: Array = field(default_factory=lambda: np.empty((0, 0)))
    z: Array = field(default_factory=lambda: np.empty((0, 0)))

    def round(self, number: int, engine: Engine) -> Generator[Exchange, Heard, Metrics]:
        """Tell z, train while it travels, listen, update z."""
        every = self.settings.reinitialise_every
        if not self.z.size or (every and number % every == 0):
            self.s = self._outputs(engine)
            self.z = self.s.copy()
        setup, digest = self.setup, self.setup.reference_digest
        expected = Expected(self.KIND, number, digest, (self.z.shape[0], self.z.shape[1]))
        message = Message(self.KIND, number, digest, self.z.astype(np.float32))
        told = yield Exchange(dict.fromkeys(setup.neighbours, message), (), expected)

        metrics = train(
            engine,
            setup,
            self.settings,
            number,
            target=message.values,
            reference_batch=self.settings.reference_batch,
            **{PULL: self.settings.pull},
        )
        s = self._outputs(engine)

        heard = yield Exchange({}, setup.neighbours, expected)
        believed = {j: m.values for j, m in heard.received.items() if plausible(m.values)}
        z = self.z + s - self.s
        for j in sorted(believed):
            z += setup.weights[j] * (believed[j].astype(np.float64) - told.sent[j].values)
        metrics["disagreement"] = float(np.abs(z - s).mean())
        metrics["implausible"] = float(len(heard.received) - len(believed))
        self.z, self.s = z, s
        return metrics

    def state(self) -> dict[str, Array]:
        """The two tables."""
        return {"z": self.z.copy(), "s": self.s.copy()}

    def load_state(self, values: Mapping[str, Array]) -> None:
        """Put them back."""
        self.z, self.s = np.array(values["z"]), np.array(values["s"])

    def _outputs(self, engine: Engine) -> Array:
        return engine.predict(self.setup.reference_x).astype(np.float64)


def plausible(rows: Array) -> bool:
    """Whether rows (R, K) can be an honest z: sums of 1, and not far outside the simplex.

    z differs from a mean of distributions by differences of distributions, so that 2 beyond either
    end is generous; a neighbour that says 1e30 would otherwise end our training with one message.
    """
    total = rows.sum(axis=1, dtype=np.float64)
    return bool(np.abs(total - 1).max() < 1e-2 and rows.min() >= -2 and rows.max() <= 3)


def create(setup: Setup, settings: Settings) -> DDistillation:
    """A device that distils its whole network through its neighbours."""
    return DDistillation(setup, settings)


_: type[Protocol] = DDistillation
