"""What an application hands over, brought to the arrays that a bundle's step takes; or refused with a reason."""

from typing import TYPE_CHECKING, Any

import numpy as np

from edge import bundle as bundles
from edge.bundle import Bundle, Tensor
from edge.errors import ConfigError, DataError
from edge.installation import Installation
from edge.interfaces import Array
from edge.labels import Classes

if TYPE_CHECKING:
    from edge.storage.sample_store import SampleStore

LABELS = "labels"
"""the input of a step that is learnt from, whatever the task"""


def samples(bundle: Bundle, x: Any) -> Array:
    """Bring samples to float32, or to int64 where the model takes token numbers.

    Args:
        bundle: says the shape of a sample.
        x: (n, ...) numbers, as the model takes them; or one sample (...).

    Returns:
        (n, ...), contiguous; n is 1 for one sample.

    Raises:
        DataError: another shape, not numbers, or values that are not finite.
    """
    shape, dtype = bundle.manifest.shape, bundle.manifest.samples["x"].dtype
    try:
        values = np.asarray(x)
        if dtype == "int64" and values.dtype.kind not in "iu":
            raise DataError(f"x: {bundle.path.name} takes token numbers, which are integers; got {values.dtype}")
        values = np.ascontiguousarray(values, dtype)
    except (TypeError, ValueError):
        raise DataError(f"x: expected numbers of shape {_rows(shape)}, got {type(x).__name__}") from None
    if values.shape == shape:
        values = values[None]
    if values.shape[1:] != shape:
        raise DataError(f"x: {bundle.path.name} takes {_rows(shape)} or one sample; got {list(values.shape)}")
    if not np.isfinite(values).all():
        raise DataError("x holds NaN or infinite values; leave such samples out, or repair them")
    return values


def store(node: Installation) -> "SampleStore":
    """Open a node's store of arriving samples. Raises ConfigError: it has no place, or is of other samples."""
    from edge.storage.sample_store import SampleStore  # only now: it needs SQLite

    if node.home is None:
        raise ConfigError(f"store '{node.config.store}': name a folder as `checkpoint`; samples are kept there, too")
    bundle = bundles.read(node.bundle)
    if bundle.manifest.backbone:
        raise ConfigError(
            f"store: {bundle.path} trains the head of a backbone, which samples that arrive do not pass yet"
        )
    labels = _labels_input(bundle)
    label_shape = tuple(map(int, labels.shape[1:]))
    return SampleStore(node.home, node.config.store or "", bundle.manifest.shape, label_shape, labels.dtype)


def ready(x: Any, y: Any) -> bool:
    """Tell whether a batch is of arrays as a step takes them, so that nothing has to be converted."""
    return isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.dtype == np.float32 and y.dtype == np.int64


def require_plain(bundle: Bundle) -> None:
    """Check that a step takes samples and labels, and nothing else. Raises ConfigError: it does."""
    names = [wanted.name for wanted in bundle.manifest.inputs if wanted.name != "x"]
    if names != [LABELS]:
        raise ConfigError(
            f"{bundle.path.name} was exported for '{' + '.join(bundle.manifest.objective)}', whose steps need "
            f"{', '.join(names)}; use step() with all of them, or a bundle of the plain objective"
        )


def targets(bundle: Bundle, y: Any, rows: int) -> Array:
    """Bring labels, or other targets, to what a step takes.

    Args:
        bundle: says their type and the classes.
        y: (rows,) class numbers or, where the bundle declares class names, names; or (rows, ...) numbers.
        rows: of the samples they belong to.

    Returns:
        (rows,) int64, or (rows, ...) float32.

    Raises:
        DataError: another number of rows, another shape, or a label that is none of the classes.
    """
    wanted = _labels_input(bundle)
    values = np.asarray(y)
    if values.ndim < len(wanted.shape):
        values = values[None]
    if len(values) != rows or values.shape[1:] != tuple(wanted.shape[1:]):
        raise DataError(f"y: expected {_rows(tuple(map(int, wanted.shape[1:])), rows)}, got {list(np.shape(y))}")
    if wanted.dtype == "int64":
        return _labels(bundle, values)
    if values.dtype.kind not in "iufb" or not np.isfinite(values).all():
        raise DataError(f"y: expected finite numbers, got {values.dtype}")
    return np.ascontiguousarray(values, np.float32)


def _labels_input(bundle: Bundle) -> Tensor:
    return next(tensor for tensor in bundle.manifest.inputs if tensor.name == LABELS)


def _labels(bundle: Bundle, y: Array) -> Array:
    """Class numbers or names as class numbers (...) int64. Raises DataError: one is none of the classes."""
    manifest = bundle.manifest
    if y.dtype.kind not in "iuU":
        raise DataError(f"y: expected class numbers or names, got {y.dtype} {list(y.shape)}")
    if manifest.job.positions:  # the engine knows which number stands for a position without a label
        return np.ascontiguousarray(y, np.int64)
    return Classes(manifest.classes, manifest.class_names or (), bundle.path.name, manifest.job).numbers(y, "y")


def _rows(shape: tuple[int, ...], rows: int | str = "n") -> str:
    return f"[{', '.join(map(str, (rows, *shape)))}]"
