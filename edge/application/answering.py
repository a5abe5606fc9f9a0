"""Predictions of a node that does not run, from its checkpoint: `edge-node predict`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edge import bundle as bundles
from edge.application import samples, trained
from edge.data import DATA
from edge.engines import ENGINES
from edge.errors import ConfigError
from edge.installation import Installation
from edge.interfaces import DEVICE, Array


def predictions(node: Installation, source: str) -> Iterator[dict[str, Any]]:
    """Predict with what a node's newest checkpoint has learnt.

    Args:
        node: its settings, of a device with a checkpoint.
        source: of samples, as in "npz:x.npz"; a path is relative to the working directory.

    Yields:
        For each sample "row" and "outputs" (K numbers) and, where it has one class, "class": its name, or its number.

    Raises:
        MurmurError: there is no checkpoint, or the samples do not fit.
    """
    if node.home is None or node.config.role != DEVICE:
        raise ConfigError(f"{node.path}: only a device that keeps checkpoints (`checkpoint`) can predict from them")
    bundle = bundles.read(node.bundle)
    if bundle.manifest.backbone:
        raise ConfigError(f"{bundle.path} trains the head of a backbone; predict takes no samples for that yet")
    config = node.config
    engine = ENGINES.load(config.runtime).create(bundle, threads=config.threads, seed=config.seed, home=node.home)
    engine.load_parameters(trained.parameters(bundle, node.home))
    task, names = bundle.manifest.job, bundle.manifest.class_names
    for row, output in enumerate(engine.predict(samples.samples(bundle, _read(source)))):
        answer: dict[str, Any] = {"row": row, "outputs": output.tolist()}
        if task.simplex:
            best = int(np.argmax(output))
            answer["class"] = names[best] if names else best
        yield answer


def _read(source: str) -> Array:
    name, colon, path = source.partition(":")
    read = DATA.load(name).samples if colon and name in DATA.names() else None
    if read is None:
        raise ConfigError(f"--input {source}: expected a source of samples, as in npz:PATH (with the array x)")
    x: Array = read(path)
    return x
