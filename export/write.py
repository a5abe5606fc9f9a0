"""From a model to a bundle on disk: the exporter in one call."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx

from edge import bundle
from edge.bundle import Bundle, write
from export import ort_artifacts, tflite
from export.errors import ExportError
from export.model import Model
from export.training.assemble import Training, assemble
from export.training.update import Update
from export.transforms.backbone import Cut


def export(
    model: Model,
    path: Path,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
    rows: Sequence[int] = (),
    official: bool = False,
    backbone: Cut | None = None,
) -> Bundle:
    """Write the bundle of `model` to the folder `path`: all of it, or nothing.

    Raises:
        ExportError: the model or the objective cannot be trained, or not by the runtimes asked for.
        BundleError: the folder cannot be written.
    """
    made = prepare(
        model,
        objective=objective,
        optimizer=optimizer,
        segments=segments,
        rows=rows,
        official=official,
        backbone=backbone,
    )
    return save(made, model, path)


def prepare(
    model: Model,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
    rows: Sequence[int] = (),
    official: bool = False,
    backbone: Cut | None = None,
) -> Training:
    """All that goes into a bundle.

    segments: see `assemble`. rows: of a private batch, and of a reference batch where the objective has a term there:
    model.tflite is made for these. official: make ONNX Runtime's own training artifacts too. backbone: what makes the
    features that the model takes.
    """
    if backbone and model.shape != (backbone.features,):
        raise ExportError(f"the model takes {list(model.shape)}; the backbone gives {backbone.features} features")
    training = assemble(model, objective=objective, optimizer=optimizer, segments=segments)
    manifest, files = training.manifest, {}
    if rows:
        batches = tflite.batches(manifest["inputs"], rows)
        files[bundle.TFLITE] = tflite.build(model, objective, optimizer, batches)
        manifest = {**manifest, "tflite": batches}
    if official:
        files |= ort_artifacts.build(model, objective, optimizer)
    if backbone:
        files[bundle.BACKBONE] = backbone.content
        manifest = {**manifest, "backbone": backbone.facts}
    return replace(training, manifest=manifest, files=files)


def save(training: Training, model: Model, path: Path) -> Bundle:
    """Write what was prepared. Raises BundleError."""
    written_with = {"murmur-edge": version("murmur-edge"), "onnx": onnx.__version__}
    graphs = {"train.onnx": training.train.SerializeToString(), "predict.onnx": training.predict.SerializeToString()}
    manifest = {**training.manifest, "written_with": written_with}
    return write(path, manifest, graphs | training.files, model.parameters)
