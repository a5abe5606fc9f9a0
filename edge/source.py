"""What data comes from: the contract of every source, and the form that its samples are brought to.

A source gives `Samples`, and whoever trains knows nothing else of it. A file has all of them at once: a plug-in of
`edge.data` reads it as a `DataSource`. A stream has a few at a time: it is an iterator of `Samples`.

>>> rows = Samples(np.zeros((2, 28, 28), np.uint8), np.array(["cat", "dog"]), {"user": np.array([7, 9])})
>>> len(rows), standard(rows.x, "an example").shape
(2, (2, 1, 28, 28))
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edge.errors import DataError
from edge.interfaces import Array
from edge.standardization import CHANNELS_LAST
from edge.task import CLASSIFICATION, Task

WIDEST_PIXEL = 2
"""Bytes of an integer that may be a pixel; wider ones are numbers."""


@dataclass(frozen=True)
class Samples:
    """Samples and what is known of them, as they came.

    Attributes:
        x: (n, ...) numbers, as `standard` takes them.
        y: (n,) labels, integers or text, or those of another task (`edge.task`); None for samples without labels.
        columns: further arrays (n,) about the rows, e.g. which user each came from.
        places: (n,) text, where each row is, for messages, as in "line 17" or "cat/3.png"; its number if absent.
    """

    x: Array
    y: Array | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)
    places: Array | None = None

    def __len__(self) -> int:
        return len(self.x)

    def take(self, chosen: Array) -> "Samples":
        """Return some of the rows. chosen: (n,) bool."""
        places = np.array([f"row {i}" for i in range(len(self))]) if self.places is None else self.places
        columns = {name: values[chosen] for name, values in self.columns.items()}
        return Samples(self.x[chosen], None if self.y is None else self.y[chosen], columns, places[chosen])


@dataclass(frozen=True)
class DataSource:
    """What a file, or several, hold.

    Attributes:
        rows: to train on.
        test: to test on, where the source is divided already.
        held_out: how many of `rows` are for testing, unless the settings say otherwise; None for none of them.
    """

    rows: Samples
    test: Samples | None = None
    held_out: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A labelled data set, divided into a training part and a test part.

    Attributes:
        x_train: (n, ...) float32, channels first; integer images are scaled to [0, 1]. Of token numbers int64.
        y_train: (n,) int64 in 0 .. K-1; from a loader without `names`, integers or text as in the file.
        x_test: (m, ...), like `x_train`; m is 0 where there is no test part.
        y_test: (m,) like `y_train`.
        names: of the K classes; empty until the labels are numbered.
        columns: further arrays (n,) about the training rows, e.g. which user each came from.
        rows: where the training and the test rows are in the file, as text, if the source says; for messages.
        task: what the labels are for; of other tasks than classification `names` are those of the outputs.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    names: tuple[str, ...]
    columns: Mapping[str, Array] = field(default_factory=dict)
    rows: tuple[Array, Array] | None = None
    task: Task = CLASSIFICATION

    @property
    def classes(self) -> int:
        """The number of classes, or of outputs, K."""
        return len(self.names)


def standard(x: Array, origin: str, *, tokens: bool = False) -> Array:
    """Bring samples to float32 with the channels first; or token numbers to int64, as they are.

    Integers of 8 or 16 bits are taken for images: they are scaled to [0, 1] by the largest value of their type,
    (n, H, W) gets a channel axis, and a last axis of 1, 3 or 4 becomes the first. Floats and wider integers keep their
    values; (n, T, C) with C < T is taken for windows of T samples of C sensors and becomes (n, C, T), and (n, H, W, C)
    is treated as for images.

    Args:
        x: (n, ...) numbers.
        origin: of the array, for error messages.
        tokens: whether the model takes token numbers; whole numbers in another type are as good.

    Returns:
        (n, ...) float32, or int64 for tokens; contiguous.

    Raises:
        DataError: not numbers, fewer than two axes, or values that are not finite.
    """
    if x.dtype.kind not in "iufb" or x.ndim < 2:
        raise DataError(f"{origin}: samples must be numbers in (n, ...), got {x.dtype} {list(x.shape)}")
    if tokens:
        whole = x.dtype.kind != "f" or bool((np.isfinite(x) & (x == np.floor(x))).all())
        if not whole:
            raise DataError(
                f"{origin}: the model takes token numbers, which are integers; got {x.dtype} with fractions"
            )
        return np.ascontiguousarray(x, np.int64)
    image = x.dtype.kind in "iub" and x.dtype.itemsize <= WIDEST_PIXEL
    if image:
        x = x.astype(np.float32) / np.float32(np.iinfo(x.dtype).max if x.dtype.kind in "iu" else 1)
    x = x.astype(np.float32)
    if not np.isfinite(x).all():
        raise DataError(f"{origin}: samples hold values that are not finite; clean them first")
    if x.ndim == 3:
        if image:
            x = x[:, None]
        elif x.shape[2] < x.shape[1]:
            x = x.transpose(0, 2, 1)
    elif x.ndim == 4 and x.shape[3] in CHANNELS_LAST and x.shape[1] not in CHANNELS_LAST:
        x = x.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(x)


def labels(y: Array, origin: str) -> Array:
    """Check that labels are one integer or text per row, or in the form that `for_task` gives them.

    Args:
        y: the labels.
        origin: of the array, for error messages.

    Returns:
        The labels as they are; text in bytes is decoded.

    Raises:
        DataError: another type or shape.
    """
    if y.ndim > 1 and y.dtype in (np.float32, np.int64):
        return y
    if y.ndim != 1 or y.dtype.kind not in "iuUSb":
        raise DataError(
            f"{origin}: labels must be integers or text, one a row; got {y.dtype} {list(y.shape)}. Other labels are "
            "for another task: docs/objectives.md"
        )
    try:
        return np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y
    except UnicodeDecodeError as reason:
        raise DataError(f"{origin}: labels must be UTF-8: {reason}") from None


def for_task(y: Array, task: Task, origin: str) -> Array:
    """Bring labels as they came to the form that a task trains with.

    Args:
        y: (n,) or (n, ...).
        task: what they are for.
        origin: of the array, for error messages.

    Returns:
        Of a classification, what `labels` gives; of a multi-label task or a regression, (n, K) float32; of a task by
        position, (n, ...) int64.

    Raises:
        DataError: another type or shape, or values that cannot be; names the first such row.
    """
    if task.simplex:
        if y.ndim > 1:
            y = y.astype(np.float64) if y.dtype.kind in "iufb" else y  # never of the form that another task has
        return labels(y, origin)
    if task.positions:
        if y.ndim < 2 or y.dtype.kind not in "iu":
            raise DataError(f"{origin}: labels of positions must be integers (n, ...), got {y.dtype} {list(y.shape)}")
        return y.astype(np.int64)
    if y.ndim not in (1, 2) or y.dtype.kind not in "iufb":
        raise DataError(
            f"{origin}: labels of {task.name} must be numbers (n,) or (n, K), got {y.dtype} {list(y.shape)}"
        )
    numbers: Array = y.reshape(len(y), -1).astype(np.float32)
    fits = np.isfinite(numbers) if not task.bounded else (numbers == 0) | (numbers == 1)
    if not fits.all():
        row, column = np.argwhere(~fits)[0]
        wanted = "0 or 1" if task.bounded else "finite numbers"
        raise DataError(f"{origin}: row {row} has the label {y.reshape(len(y), -1)[row, column]}; expected {wanted}")
    return numbers
