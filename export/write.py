"""From a model to a bundle on disk: the exporter in one call."""

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import onnx

from edge.bundle import Bundle, write
from export.assemble import Training, assemble
from export.model import Model
from export.update import Update


def export(
    model: Model,
    path: Path,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
) -> Bundle:
    """Write the bundle of `model` to the folder `path`: all of it, or nothing.

    Raises:
        ExportError: the model or the objective cannot be trained.
        BundleError: the folder cannot be written.
    """
    return save(assemble(model, objective=objective, optimizer=optimizer, segments=segments), model, path)


def save(training: Training, model: Model, path: Path, more: Mapping[str, bytes] | None = None) -> Bundle:
    """Write what was assembled, and files beside it. Raises BundleError."""
    written_with = {"murmur-edge": version("murmur-edge"), "onnx": onnx.__version__}
    graphs = {"train.onnx": training.train.SerializeToString(), "predict.onnx": training.predict.SerializeToString()}
    return write(
        path, {**training.manifest, "written_with": written_with}, {**graphs, **(more or {})}, model.parameters
    )
