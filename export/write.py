"""Export a model to a bundle on disk, in one call."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import onnx

from edge import bundle
from export import ort_artifacts, tflite
from export.errors import ExportError
from export.model import Model
from export.training.assemble import Training, assemble
from export.training.update import Update
from export.transforms.backbone import FrozenBackbone


def export(
    model: Model,
    path: Path,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
    rows: Sequence[int] = (),
    official: bool = False,
    backbone: FrozenBackbone | None = None,
    class_names: Sequence[str] = (),
) -> bundle.Bundle:
    """Write the bundle of a model: all of it, or nothing.

    Args:
        model: what is trained.
        path: the folder to write.
        objective: the terms, as in "cross_entropy + 1.0*squared_error(reference)".
        optimizer: its name, or an update with clipping, weight decay or accumulation.
        segments: above 1, activations are computed again instead of kept.
        rows: the rows of a private batch, and of a reference batch where the objective has a term there; if given,
            model.tflite is written for these sizes.
        official: also make ONNX Runtime's own training artifacts.
        backbone: computes the features that the model takes.
        class_names: what the classes are called, in the order of their numbers; they need not be.

    Returns:
        The bundle that was written.

    Raises:
        ExportError: the model or the objective cannot be trained, or not by the runtimes asked for.
        BundleError: the folder cannot be written.
    """
    training = prepare(
        model,
        objective=objective,
        optimizer=optimizer,
        segments=segments,
        rows=rows,
        official=official,
        backbone=backbone,
        class_names=class_names,
    )
    return save(training, model, path)


def prepare(
    model: Model,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
    rows: Sequence[int] = (),
    official: bool = False,
    backbone: FrozenBackbone | None = None,
    class_names: Sequence[str] = (),
) -> Training:
    """Compute everything that goes into a bundle, and write nothing. Arguments and errors are those of `export`."""
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
        manifest = {**manifest, "backbone": backbone.manifest}
    if class_names:
        if len(set(class_names)) != len(class_names) or len(class_names) != manifest["classes"]:
            raise ExportError(f"the model has {manifest['classes']} classes; their names are {', '.join(class_names)}")
        manifest = {**manifest, "class_names": tuple(class_names)}
    return replace(training, manifest=manifest, files=files)


def save(training: Training, model: Model, path: Path) -> bundle.Bundle:
    """Write what was prepared.

    Args:
        training: the graphs, the manifest and other files.
        model: holds the parameters that training starts with.
        path: the folder to write.

    Returns:
        The bundle that was written.

    Raises:
        BundleError: the folder cannot be written.
    """
    written_with = {"murmur-edge": version("murmur-edge"), "onnx": onnx.__version__}
    graphs = {"train.onnx": training.train.SerializeToString(), "predict.onnx": training.predict.SerializeToString()}
    manifest = {**training.manifest, "written_with": written_with}
    return bundle.write(path, manifest, graphs | training.files, model.parameters)
