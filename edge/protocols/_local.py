"""Local training, which every protocol does the same way."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np

from edge import schedules
from edge.bundle import SKIPPED
from edge.interfaces import SGD, Array, Engine, Metrics, ProtocolContext
from edge.ranges import LARGEST_RATE

Inputs = Callable[[Array], Mapping[str, Array]]
"""Row numbers (n,) -> further inputs of a step for these rows, by name."""

RATES = {SGD: 0.1, "momentum": 0.03, "nesterov": 0.03}
"""optimizer -> learning rate where nobody sets one"""
ADAPTIVE = 0.001
"""the same of all others"""


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """The knobs of local training.

    local_steps: training steps a round. batch_size: private samples a step.
    order: "shuffled" passes, or "stream": the samples as they come, once, and from the start again after the last;
    the loss is then prequential, as each batch is judged before it is learnt from.
    learning_rate: eta_0; absent, what suits the bundle's optimizer: 0.1 for sgd, 0.03 for momentum and nesterov, 0.001
    for the adaptive ones. decay_after: rounds t_0 after which it falls noticeably, as
    eta_t = eta_0 / (1 + t/t_0)^0.75 (square-summable, not summable); 0 keeps it constant.
    schedule: by which factor the rate is multiplied as rounds go by, instead of decay_after (`edge.schedules`).
    """

    local_steps: int = 10
    batch_size: int = 32
    order: Literal["shuffled", "stream"] = "shuffled"
    learning_rate: float | None = None
    decay_after: float = 0.0
    schedule: str = "constant"

    def __post_init__(self) -> None:
        if self.local_steps < 1 or self.batch_size < 1:
            raise ValueError("local_steps and batch_size must be at least 1")
        if not (0 < self.initial_rate() <= LARGEST_RATE and 0 <= self.decay_after < inf):
            raise ValueError(f"learning_rate must be above 0 and at most {LARGEST_RATE:g}, decay_after not negative")
        if self.decay_after and self.schedule != "constant":
            raise ValueError("decay_after and schedule both say how the learning rate changes; leave one of them out")
        schedules.parse(self.schedule)

    def initial_rate(self, optimizer: str = SGD) -> float:
        """The setting, or what suits an optimizer."""
        return RATES.get(optimizer, ADAPTIVE) if self.learning_rate is None else self.learning_rate

    def rate(self, number: int, optimizer: str = SGD) -> float:
        """The learning rate of round `number`, counted from 1."""
        first = self.initial_rate(optimizer)
        if not self.decay_after:
            return first * schedules.parse(self.schedule)(number - 1)
        return float(first / (1 + (number - 1) / self.decay_after) ** 0.75)


def generator(context: ProtocolContext, number: int, purpose: int = 0) -> np.random.Generator:
    """Seed the randomness of one device in one round: nothing has to be saved, and a resumed run continues the same.

    Args:
        context: of the device.
        number: of the round.
        purpose: other numbers give other randomness.

    Returns:
        A fresh generator.
    """
    return np.random.default_rng([context.seed, number, purpose] if purpose else [context.seed, number])


def shared(context: ProtocolContext, number: int, purpose: int = 0) -> np.random.Generator:
    """Seed randomness that all nodes of the fleet draw alike in a round; see `generator`."""
    return np.random.default_rng([context.shared_seed, number, purpose, 7])


def batches(rows: int, size: int, random: np.random.Generator) -> Iterator[Array]:
    """Draw batches without end, each row once per pass.

    Args:
        rows: how many there are.
        size: of a batch; a smaller set gives all its rows.
        random: of the order.

    Yields:
        Row numbers (size,).
    """
    size = min(size, rows)
    left = np.empty(0, np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, random.permutation(rows)])
        yield left[:size]
        left = left[size:]


def stream(rows: int, size: int, first: int) -> Iterator[Array]:
    """Yield row numbers (size,) in their order without end, beginning with batch number `first`."""
    while True:
        yield np.arange(first * size, (first + 1) * size) % rows
        first += 1


def train(
    engine: Engine,
    context: ProtocolContext,
    settings: LocalSettings,
    number: int,
    *,
    private: Inputs | None = None,
    public: Inputs | None = None,
    reference_batch: int = 0,
    after_step: Callable[[], None] | None = None,
    hyper: Mapping[str, float] | None = None,
) -> Metrics:
    """Take `local_steps` steps on private batches, and on reference batches where the objective has such a term.

    Args:
        engine: of the device's model.
        context: has the samples.
        settings: of local training.
        number: of the round, from 1.
        private: row numbers -> further inputs of these private rows, by name.
        public: row numbers -> inputs of these reference rows, beside the rows themselves; None for no such batches.
        reference_batch: reference rows a step.
        after_step: called after each.
        hyper: scalars of every step beside the learning rate.

    Returns:
        "idle" alone if there are no samples to learn from, now. Means over the steps: "loss", "loss/TERM" and, where a
        row has one class, "accuracy" on the batches, each judged before its step. Steps that the engine skipped are
        left out; "skipped_steps" counts them, where there are any.
    """
    if not len(context.x):
        return {"idle": 1.0}
    if settings.order == "stream":
        of_private = stream(len(context.x), settings.batch_size, (number - 1) * settings.local_steps)
    else:
        of_private = batches(len(context.x), settings.batch_size, generator(context, number))
    # The reference batches have randomness of their own: the private ones are those of a device on its own.
    of_public = batches(len(context.reference_x), reference_batch, generator(context, number, 1)) if public else None
    steps: list[Metrics] = []
    rows = 0
    for _ in range(settings.local_steps):
        at = next(of_private)
        batch = {"x": context.x[at], "labels": context.y[at]}
        if private is not None:
            batch |= private(at)
        if of_public is not None and public is not None:
            of = next(of_public)
            batch |= {"reference_x": context.reference_x[of], **public(of)}
        losses = engine.step(batch, learning_rate=settings.rate(number, context.optimizer), **(hyper or {}))
        if after_step is not None:
            after_step()
        steps.append(losses)
        rows += 0 if SKIPPED in losses else len(at)
    metrics = means(steps)
    judged = "correct" in metrics
    metrics.pop("correct", None)
    correct = sum(losses.get("correct", 0.0) for losses in steps if SKIPPED not in losses)
    return metrics | ({"accuracy": correct / rows} if judged else {})


def means(steps: Sequence[Metrics]) -> Metrics:
    """Average what steps measured.

    Args:
        steps: what an engine gave for each.

    Returns:
        The mean of every number over the steps that were taken; and "skipped_steps", how many were not, if any.
    """
    taken = [losses for losses in steps if SKIPPED not in losses]
    sums: Metrics = {}
    for losses in taken:
        for key, value in losses.items():
            sums[key] = sums.get(key, 0.0) + value
    skipped = {SKIPPED: float(len(steps) - len(taken))} if len(taken) < len(steps) else {}
    return {key: value / len(taken) for key, value in sums.items()} | skipped


def summary(steps: Sequence[Metrics]) -> Metrics:
    """Of `means`, the loss and the number of skipped steps: what a centre reports of its training."""
    return {key: value for key, value in means(steps).items() if key in ("loss", SKIPPED)}
