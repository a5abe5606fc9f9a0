"""A trained model out of a bundle and a checkpoint: one ONNX or TFLite file with plain inputs and outputs."""

import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from edge import bundle as bundles
from edge.application import saved_model, trained
from edge.bundle import Bundle
from edge.data import DATA
from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.storage import atomic
from export import tflite

CALIBRATION_ROWS = 16
"""rows that the quantiser reads at once"""


@dataclass(frozen=True)
class Written:
    """The file: its kind ("onnx", "onnx int8" or "tflite") and its size."""

    path: Path
    kind: str
    bytes: int


def write(folder: Path, state: Path, path: Path, *, reference: str | None = None, rows: int = 1) -> Written:
    """Write a trained model, whole or not at all.

    Args:
        folder: of the bundle.
        state: of the training (`edge.application.trained.parameters`).
        path: of the file, which ends in .onnx or .tflite.
        reference: "npz:PATH", samples by which ONNX Runtime's quantiser chooses the ranges of int8 activations; float32
            if absent.
        rows: of a prediction, for TFLite, where it is fixed.

    Returns:
        What was written.

    Raises:
        ConfigError: a path with another ending, settings that do not go together, or it cannot be written.
        BundleError: the state is of another model. ExportError: TFLite has no such operator.
    """
    bundle = bundles.read(folder)
    values = trained.parameters(bundle, state)
    if path.suffix not in (".onnx", ".tflite"):
        raise ConfigError(f"-o {path}: expected a name that ends in .onnx or .tflite")
    if reference and path.suffix != ".onnx":
        raise ConfigError("--int8 is by ONNX Runtime's quantiser: choose a name that ends in .onnx")
    model = saved_model.build(bundle, values)
    if path.suffix == ".tflite":
        proto = onnx.load_from_string(model)
        model = tflite.lowered(bundle.manifest.name, {"predict": proto}, {"N": rows, "rows": rows})
    elif reference:
        model = _int8(model, _samples(reference, bundle))
    try:
        atomic.write_bytes(path, model)
    except OSError as reason:
        raise ConfigError(f"cannot write {path}: {reason.strerror}") from None
    return Written(path, f"{path.suffix[1:]} int8" if reference else path.suffix[1:], len(model))


def _samples(reference: str, bundle: Bundle) -> Array:
    name, colon, argument = reference.partition(":")
    read = DATA.load(name).samples if colon and name in DATA.names() else None
    if read is None:
        raise ConfigError(f"--int8 {reference}: expected a reference set, as in npz:reference.npz")
    x: Array = read(argument)
    if x.shape[1:] != bundle.manifest.shape:
        raise DataError(
            f"{reference} has samples of {list(x.shape[1:])}; {bundle.path} takes {list(bundle.manifest.shape)}"
        )
    return x


class _Rows:
    """A `CalibrationDataReader`: the reference set, a few rows at a time."""

    def __init__(self, x: Array) -> None:
        self._batches: Iterator[Array] = (x[i : i + CALIBRATION_ROWS] for i in range(0, len(x), CALIBRATION_ROWS))

    def get_next(self) -> dict[str, Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"x": batch}


def _int8(model: bytes, x: Array) -> bytes:
    """Weights and activations in int8, in the QDQ format; inputs and outputs stay float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the quantiser's own imports
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

        reader: Any = _Rows(x)
        with tempfile.TemporaryDirectory() as name:
            whole, small = Path(name) / "float32.onnx", Path(name) / "int8.onnx"
            whole.write_bytes(model)
            quantize_static(
                whole,
                small,
                reader,
                quant_format=QuantFormat.QDQ,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                per_channel=False,
            )
            return small.read_bytes()
