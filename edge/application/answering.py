"""Predictions of a node's newest whole checkpoint: `edge-node predict`, and `edge-node serve` while the node trains."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from edge import bundle as bundles
from edge.application import samples, trained
from edge.bundle import Bundle
from edge.data import DATA
from edge.engines import ENGINES
from edge.errors import BundleError, ConfigError
from edge.installation import Installation
from edge.interfaces import DEVICE, Array, Metrics
from edge.storage import checkpoint_files, metrics_log


class CheckpointModel:
    """What a node has learnt, read from the folder that it, or another process, keeps its checkpoints in.

    Args:
        node: its settings, of a device with a checkpoint.

    Raises:
        ConfigError: such a node keeps none, or its samples pass a backbone first.
        BundleError: its model cannot be read.
    """

    def __init__(self, node: Installation) -> None:
        if node.home is None or node.config.role != DEVICE:
            raise ConfigError(f"{node.path}: only a device that keeps checkpoints (`checkpoint`) can predict from them")
        self.bundle = bundles.read(node.bundle)
        if self.bundle.manifest.backbone:
            raise ConfigError(
                f"{self.bundle.path} trains the head of a backbone; predict takes no samples for that yet"
            )
        config, self._home = node.config, node.home
        create = ENGINES.load(config.runtime).create
        self._engine = create(self.bundle, threads=config.threads, seed=config.seed, home=node.home)
        self._loaded: tuple[str, int] | None = None
        self._lock = threading.Lock()

    def predict(self, x: Array) -> Array:
        """Predict with the newest checkpoint that is whole.

        Args:
            x: (n, ...) samples as the model takes them.

        Returns:
            (n, K) probabilities, or what else the task gives.

        Raises:
            ConfigError: there is none yet. BundleError: it is of another model, as after a rollout.
        """
        with self._lock:
            newest = checkpoint_files.stamp(self._home)
            if newest is None or newest != self._loaded:
                self._load(newest)
            return self._engine.predict(x)

    def row(self) -> Metrics:
        """Return the metrics of the round last finished; none where there is nothing to predict with yet."""
        return metrics_log.latest(self._home) if checkpoint_files.stamp(self._home) else {}

    def _load(self, newest: tuple[str, int] | None) -> None:
        try:
            self._engine.load_parameters(trained.parameters(self.bundle, self._home))
        except BundleError:
            raise
        except ConfigError:
            if self._loaded is None:
                raise
            return  # it is being replaced: the parameters before it are whole, and the next call looks again
        self._loaded = newest


def predictions(node: Installation, source: str) -> Iterator[dict[str, Any]]:
    """Predict with what a node's newest checkpoint has learnt.

    Args:
        node: its settings, of a device with a checkpoint.
        source: of samples, as in "npz:x.npz"; a path is relative to the working directory.

    Yields:
        For each sample what `answer` returns, and "row".

    Raises:
        MurmurError: there is no checkpoint, or the samples do not fit.
    """
    model = CheckpointModel(node)
    outputs = model.predict(samples.samples(model.bundle, _read(source)))
    for row, output in enumerate(outputs):
        yield {"row": row, **answer(model.bundle, output)}


def answer(bundle: Bundle, output: Array) -> dict[str, Any]:
    """Say what a model answers for one sample.

    Args:
        bundle: the model.
        output: (K, ...) of it.

    Returns:
        "outputs" and, where a sample has one class, "class": its name, or its number.
    """
    task, names = bundle.manifest.job, bundle.manifest.class_names
    prediction: dict[str, Any] = {"outputs": output.tolist()}
    if task.simplex:
        best = int(np.argmax(output))
        prediction["class"] = names[best] if names else best
    return prediction


def _read(source: str) -> Array:
    name, colon, path = source.partition(":")
    read = DATA.load(name).samples if colon and name in DATA.names() else None
    if read is None:
        raise ConfigError(f"--input {source}: expected a source of samples, as in npz:PATH (with the array x)")
    x: Array = read(path)
    return x
