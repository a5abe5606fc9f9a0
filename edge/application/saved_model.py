"""A trained model as one ONNX file with plain inputs and outputs, which any runtime takes.

It is the bundle's predict.onnx with the parameters inside. A board has no `onnx` package, so the file is put together
of fields (`edge.storage.onnx_file`): graph inputs that are parameters go, and initializers of the same names come.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from edge import bundle as names
from edge.bundle import Bundle
from edge.errors import BundleError, ConfigError
from edge.interfaces import Array
from edge.storage import atomic
from edge.storage.onnx_file import METADATA, with_parameters
from edge.storage.protobuf import content, text

KEY, VALUE = 1, 2  # of StringStringEntryProto


def save(bundle: Bundle, parameters: Mapping[str, Array], path: Path) -> None:
    """Write a trained model, whole or not at all.

    Args:
        bundle: the model.
        parameters: all of its parameters, by name.
        path: of the file.

    Raises:
        ConfigError: the path does not end in .onnx, or cannot be written; or the model is but the head of a backbone,
            which is no ONNX graph.
        BundleError: predict.onnx cannot be read.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"cannot save a model as {path}: expected a name that ends in .onnx")
    file = build(bundle, parameters)
    try:
        atomic.write_bytes(path, file)
    except OSError as reason:
        raise ConfigError(f"cannot write {path}: {reason.strerror}") from None


def build(bundle: Bundle, parameters: Mapping[str, Array]) -> bytes:
    """Return the file as bytes; arguments and errors are those of `save`."""
    manifest = bundle.manifest
    if manifest.backbone:
        raise ConfigError(
            f"{bundle.path} trains the head of a TFLite backbone, which cannot be part of an ONNX file; its parameters "
            "are in the checkpoint (docs/bundle.md)"
        )
    if missing := [p.name for p in manifest.parameters if p.name not in parameters]:
        raise BundleError(f"{bundle.path} has a parameter {missing[0]}, of which the trained state has nothing")
    source = bundle.path / "predict.onnx"
    inside = {names.PARAMETER + p.name: parameters[p.name] for p in manifest.parameters}
    try:
        return with_parameters(source.read_bytes(), inside) + _metadata(bundle)
    except (OSError, ValueError) as reason:
        raise BundleError(f"{source} cannot be read: {reason}") from None


def _metadata(bundle: Bundle) -> bytes:
    """What a reader of the file may want to know: names of the classes as JSON, and the model's name."""
    manifest = bundle.manifest
    facts = {"name": manifest.name, "classes": str(manifest.classes), "task": manifest.task}
    if manifest.class_names:
        facts["class_names"] = json.dumps(list(manifest.class_names))
    entries = (text(KEY, f"murmur.{key}") + text(VALUE, value) for key, value in facts.items())
    return b"".join(content(METADATA, entry) for entry in entries)
