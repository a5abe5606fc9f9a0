"""Local training, which every protocol does the same way."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edge.interfaces import Array, Engine, Metrics, Setup


@dataclass(frozen=True, kw_only=True)
class LocalSettings:
    """The knobs of local training.

    local_steps: training steps a round. batch_size: private samples a step.
    learning_rate: eta_0. decay_after: rounds t_0 after which it falls noticeably, as
    eta_t = eta_0 / (1 + t/t_0)^0.75 (square-summable, not summable); 0 keeps it constant.
    """

    local_steps: int = 5
    batch_size: int = 32
    learning_rate: float = 0.1
    decay_after: float = 0.0

    def __post_init__(self) -> None:
        if self.local_steps < 1 or self.batch_size < 1:
            raise ValueError("local_steps and batch_size must be at least 1")
        if self.learning_rate <= 0 or self.decay_after < 0:
            raise ValueError("learning_rate must be positive and decay_after not negative")

    def rate(self, number: int) -> float:
        """The learning rate of round `number`, counted from 1."""
        if not self.decay_after:
            return self.learning_rate
        return float(self.learning_rate / (1 + (number - 1) / self.decay_after) ** 0.75)


def generator(setup: Setup, number: int) -> np.random.Generator:
    """The randomness of one device in one round: nothing to save, and a resumed run goes on the same."""
    return np.random.default_rng([setup.seed, number])


def batches(rows: int, size: int, random: np.random.Generator) -> Iterator[Array]:
    """Endless row numbers (size,), each row once per pass; a set smaller than `size` gives all its rows."""
    size = min(size, rows)
    left = np.empty(0, np.int64)
    while True:
        while len(left) < size:
            left = np.concatenate([left, random.permutation(rows)])
        yield left[:size]
        left = left[size:]


def train(
    engine: Engine,
    setup: Setup,
    settings: LocalSettings,
    number: int,
    *,
    target: Array | None = None,
    reference_batch: int = 0,
    **hyper: float,
) -> Metrics:
    """`local_steps` steps on private batches; with a target (R, K), each also on reference rows.

    Returns the means over the steps: the losses by term, and `accuracy` on the batches.
    """
    random = generator(setup, number)
    private = batches(len(setup.x), settings.batch_size, random)
    public = batches(len(setup.reference_x), reference_batch, random) if target is not None else None
    sums: Metrics = {}
    rows = 0
    for _ in range(settings.local_steps):
        at = next(private)
        batch = {"x": setup.x[at], "labels": setup.y[at]}
        if public is not None and target is not None:
            of = next(public)
            batch |= {"reference_x": setup.reference_x[of], "reference_target": target[of]}
        found = engine.step(batch, learning_rate=settings.rate(number), **hyper)
        rows += len(at)
        for key, value in found.items():
            sums[key] = sums.get(key, 0.0) + value
    correct = sums.pop("correct", 0.0)
    return {key: value / settings.local_steps for key, value in sums.items()} | {"accuracy": correct / rows}


def flatten(parameters: Mapping[str, Array]) -> Array:
    """All parameters as one row (1, P) float32, in the order of the bundle's table."""
    return np.concatenate([p.ravel() for p in parameters.values()]).astype(np.float32)[None]


def unflatten(row: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of `flatten`, with the names and shapes of `like`."""
    values, at = {}, 0
    for name, p in like.items():
        values[name] = row[0, at : at + p.size].reshape(p.shape).astype(np.float32)
        at += p.size
    return values
