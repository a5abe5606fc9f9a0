"""Codings of soft labels on the outputs of half-trained models, over successive rounds.

A model trains; after every round its probabilities on the same rows are coded and decoded again. Ten classes are
digits; more are classes of a Gaussian each, in 64 dimensions. Figures are means over the measured rounds:

    bytes        of the body
    divergence   mean over rows of KL(outputs || what is decoded), in nats
    error        the largest difference of a probability
    argmax       share of the rows whose class is decoded as it was
    entropy      of the codes, in bytes: of each alone (zero-order), and given the code that the same entry had in the
                 round before (conditional), with this message's own frequencies: what an entropy coder can hope for
    MB/s         of float32 coded and decoded, one thread; the table shows medians
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
from pydantic import BaseModel

from edge import codec, data
from edge.engines import onnx_runtime
from edge.errors import ConfigError
from edge.interfaces import Array, Floats
from edge_report.finding import Finding, Progress, mean
from export import zoo
from export.write import export

T = TypeVar("T")
FEATURES, PER_CLASS, APART = 64, 30, 0.5
"""of the synthetic classes: dimensions, samples a class, deviation of the centres over that around them"""
BATCH, RATE = 64, 0.1
WARM = 2
"""rounds before the measured ones: the most that a coding looks back"""


class CodingRow(BaseModel):
    """One coding; see the module. smaller: times than float32. Speeds have an entry a round."""

    coding: str
    bytes: float
    smaller: float
    divergence: float
    error: float
    argmax: float
    zero_order: float | None
    conditional: float | None
    encode_mb_s: list[float]
    decode_mb_s: list[float]


class Stream(BaseModel):
    """All codings on one stream of messages. accuracy: of the model, in the first and the last measured round."""

    classes: int
    rows: int
    rounds: list[int]
    accuracy: list[float]
    lines: list[CodingRow]


class Wire(Finding):
    """Codings on streams of messages, one for each number of classes."""

    command: str = "wire"
    streams: list[Stream]


def codings() -> list[str]:
    """Return the names of all codings that can carry soft labels."""
    return codec.names("soft-labels")


def measure(
    classes: int, rows: int, first: int, rounds: int, *, seed: int = 0, progress: Progress = lambda *_: None
) -> Stream:
    """Measure every coding on the messages of some rounds.

    Args:
        classes: K; 10 are digits.
        rows: of a message.
        first: the first round that is measured.
        rounds: how many are.
        seed: of the model and the data.
        progress: called before each coding.

    Raises:
        ConfigError: numbers that cannot be.
    """
    if classes < 2 or rows < 1 or first < 2 or rounds < 1:
        raise ConfigError("expected 2 classes and 1 row or more, rounds from the second on, and at least one")
    messages, accuracy = _messages(classes, rows, first + rounds, seed)
    measured = range(first, first + rounds)
    lines = []
    for done, name in enumerate(codings()):
        progress(done, len(codings()), name)
        lines.append(_row(name, messages[first - WARM : first + rounds]))
    return Stream(
        classes=classes,
        rows=len(messages[0]),
        rounds=list(measured),
        accuracy=[accuracy[first], accuracy[first + rounds - 1]],
        lines=lines,
    )


def divergence(p: Array, q: Array) -> float:
    """Return the mean over rows of KL(p || q), in nats; an entry that q makes impossible counts as 1e-30.

    >>> round(divergence(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]])), 3)
    0.693
    """
    p, q = p.astype(np.float64), q.astype(np.float64)
    terms = p * (np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-30)))
    return float(terms.sum(axis=1).mean())


def entropy(codes: Array, given: Array | None = None) -> float:
    """Return the entropy of codes in bytes, by their own frequencies, or conditional on `given`, one for each code."""
    symbols = codes.astype(np.int64).ravel()
    groups = np.zeros_like(symbols) if given is None else given.astype(np.int64).ravel()
    pairs = np.bincount(groups * 256 + symbols, minlength=65536).reshape(256, 256)
    totals = pairs.sum(axis=1, keepdims=True)
    used = pairs > 0
    shares = np.divide(pairs, totals, out=np.ones(pairs.shape), where=used)
    return float(-(pairs[used] * np.log2(shares[used])).sum() / 8)


def _row(name: str, messages: Sequence[Floats]) -> CodingRow:
    """Measure a coding; the first WARM messages only serve as bases of those after them."""
    coding = codec.find(name)
    figures: dict[str, list[float]] = {}

    def add(**values: float) -> None:
        for key, value in values.items():
            figures.setdefault(key, []).append(value)

    received: list[tuple[int, Floats]] = []  # the newest first
    for number, now in enumerate(messages, start=1):
        bases = received[: coding.bases]
        known = (([*bases],), (dict(bases),)) if coding.bases else ((), ())
        body, encoding = _timed(partial(coding.encode, now, *known[0]))
        decoded, decoding = _timed(partial(coding.decode, body, *now.shape, *known[1]))
        received = [(number, decoded), *received[:1]]
        if number <= WARM:
            continue
        add(
            bytes=len(body),
            divergence=divergence(now, decoded),
            error=float(np.abs(now - decoded).max()),
            argmax=float((now.argmax(axis=1) == decoded.argmax(axis=1)).mean()),
            encode=now.nbytes / encoding / 1e6,
            decode=now.nbytes / decoding / 1e6,
        )
        if coding.codes:
            codes, given = (coding.codes(values) for _, values in received)
            add(zero=entropy(codes), conditional=entropy(codes, given))
    size = mean(figures["bytes"])
    return CodingRow(
        coding=name,
        bytes=size,
        smaller=messages[0].nbytes / size,
        divergence=mean(figures["divergence"]),
        error=max(figures["error"]),
        argmax=mean(figures["argmax"]),
        zero_order=mean(figures["zero"]) if "zero" in figures else None,
        conditional=mean(figures["conditional"]) if "zero" in figures else None,
        encode_mb_s=figures["encode"],
        decode_mb_s=figures["decode"],
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begin = time.perf_counter()
    result = work()
    return result, time.perf_counter() - begin


def _messages(classes: int, rows: int, rounds: int, seed: int) -> tuple[list[Floats], list[float]]:
    """Train a model; return its outputs of the same rows after each round, and their accuracies."""
    x, y = _samples(classes, seed)
    train, test = (x[rows:], y[rows:]), (x[:rows], y[:rows])
    if len(train[0]) < BATCH:
        raise ConfigError(f"--rows {rows}: {len(x)} samples leave {len(train[0])} to train on; ask for fewer")
    model = zoo.build("mlp:128-64", shape=x.shape[1:], classes=classes, seed=seed)
    outputs, accuracies = [], []
    with TemporaryDirectory() as folder:
        engine = onnx_runtime.create(export(model, Path(folder) / "bundle"))
        batches = _batches(len(train[0]), seed)
        for _ in range(rounds):
            for at in (next(batches) for _ in range(max(10, classes // 10))):
                engine.step({"x": train[0][at], "labels": train[1][at]}, learning_rate=RATE)
            outputs.append(engine.predict(test[0]))
            accuracies.append(float((outputs[-1].argmax(axis=1) == test[1]).mean()))
    return outputs, accuracies


def _samples(classes: int, seed: int) -> tuple[Array, Array]:
    if classes == 10:
        digits = data.load("digits", seed)
        return digits.x_train, digits.y_train
    random = np.random.default_rng(seed)
    centres = APART * random.standard_normal((classes, FEATURES))
    y = random.permutation(np.repeat(np.arange(classes), PER_CLASS))
    return (centres[y] + random.standard_normal((len(y), FEATURES))).astype(np.float32), y


def _batches(rows: int, seed: int) -> Iterator[Array]:
    random = np.random.default_rng(seed)
    while True:
        yield random.integers(0, rows, BATCH)
