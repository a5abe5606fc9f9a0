"""Batches to try an engine with."""

import numpy as np

from edge.bundle import Bundle
from edge.interfaces import Array


def random_batch(bundle: Bundle, private: int, reference: int = 0, seed: int = 0) -> dict[str, Array]:
    """Draw a batch of the shapes and types that a bundle's step takes.

    Args:
        bundle: whose step.
        private: N, rows of the private batch.
        reference: R, rows of the reference batch, where the objective has one.
        seed: of the values; targets are probabilities.

    Returns:
        The arrays by name, as `edge.interfaces.Engine.step` takes them.
    """
    manifest = bundle.manifest
    random, rows = np.random.default_rng(seed), {"N": private, "R": reference}
    batch: dict[str, Array] = {}
    for wanted in manifest.inputs:
        shape = tuple(rows[d] if isinstance(d, str) else d for d in wanted.shape)
        vocabulary = manifest.vocabulary.get(wanted.name.removeprefix("reference_"))
        if wanted.dtype == "int64" or vocabulary:
            batch[wanted.name] = random.integers(0, vocabulary or manifest.classes, shape).astype(wanted.dtype)
            continue
        value: Array = random.random(shape, np.float32)
        distributions = "target" in wanted.name and manifest.job.link == "softmax"
        batch[wanted.name] = value / value.sum(1, keepdims=True) if distributions else value
    return batch
