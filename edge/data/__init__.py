"""Data sets: what every loader returns, and how raw arrays are brought to that form.

A loader is a file of this package, named as the configuration names it: `digits`, `npz:PATH`, `idx:DIR`. It has
`SPEC = DataSpec(load=...)` (`edge.specs`), with

    load(argument, seed) -> Dataset     argument: what follows the colon, "" if nothing does

A loader of files leaves labels as they are. `load` numbers them: a device by the classes of its bundle, so that a class
number means the same on every device; whoever has all of the data in one place, in the order of the labels.

Examples:
    >>> dataset = load("margin-stream:100:5", seed=0)
    >>> dataset.x_train.shape, dataset.classes
    ((100, 5), 2)
    >>> reference, private = take_reference("30", dataset, seed=0)
    >>> len(reference.x), len(private.x_train)
    (30, 70)
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.labels import Classes
from edge.plugins import Family
from edge.reference import ReferenceSet, of
from edge.specs import DataSpec

DATA: Family[DataSpec["Dataset"]] = Family("edge.data", DataSpec, "data", "murmur.data")
_log = logging.getLogger(__name__)

CHANNELS_LAST = (1, 3, 4)
"""Sizes of a last axis that are taken for colour channels."""
LISTED = 10
"""Labels that a note lists."""


@dataclass(frozen=True)
class Dataset:
    """A labelled data set, divided into a training part and a test part.

    Attributes:
        x_train: (n, ...) float32, channels first; integer images are scaled to [0, 1].
        y_train: (n,) int64 in 0 .. K-1; from a loader without `names`, integers or text as in the file.
        x_test: (m, ...) float32, like `x_train`; m is 0 where there is no test part.
        y_test: (m,) like `y_train`.
        names: of the K classes; empty until the labels are numbered.
        columns: further arrays (n,) about the training rows, e.g. which user each came from.
        rows: numbers of the training and of the test rows in the file, where both are of one table; for messages.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    names: tuple[str, ...]
    columns: Mapping[str, Array] = field(default_factory=dict)
    rows: tuple[Array, Array] | None = None

    @property
    def classes(self) -> int:
        """The number of classes, K."""
        return len(self.names)


def load(source: str, seed: int, classes: Classes | None = None) -> Dataset:
    """Load a data set.

    Args:
        source: "NAME" or "NAME:ARGUMENT"; NAME is a loader of this package or a registered one.
        seed: of a held-out test part and of synthetic data.
        classes: what the labels are read against. If absent, the data's own labels are numbered in their order, and a
            note is logged where integers change by that.

    Returns:
        The data set in standard form.

    Raises:
        ConfigError: there is no such loader.
        DataError: what is wrong with the data, and where; a label that is none of `classes`.
    """
    name, _, argument = source.partition(":")
    try:
        loader = DATA.load(name)
    except ConfigError as unknown:
        raise ConfigError(f"data '{source}': {unknown}") from None
    dataset: Dataset = loader.load(argument, seed)
    return _numbered(dataset, source) if classes is None else _against(dataset, classes, source)


def subsample(dataset: Dataset, rows: int, seed: int) -> Dataset:
    """Draw at most `rows` rows of the training part and as many of the test part.

    Args:
        dataset: to draw from.
        rows: of either part, at most.
        seed: of the choice.

    Returns:
        The smaller data set; rows stay in their order.
    """
    random = np.random.default_rng([seed, rows])
    train, test = (np.sort(random.permutation(len(y))[:rows]) for y in (dataset.y_train, dataset.y_test))
    return replace(
        dataset,
        x_train=dataset.x_train[train],
        y_train=dataset.y_train[train],
        x_test=dataset.x_test[test],
        y_test=dataset.y_test[test],
        columns={name: values[train] for name, values in dataset.columns.items()},
    )


def take_reference(spec: str, dataset: Dataset, seed: int) -> tuple[ReferenceSet, Dataset]:
    """Make the public reference set.

    Args:
        spec: "N" takes N training rows at random, whose labels nobody sees; "npz:PATH" reads `x` (or `x_train`).
        dataset: to take from.
        seed: of the choice.

    Returns:
        The reference set, and the data set without its rows.

    Raises:
        ConfigError: too many rows, or a spec that is neither.
        DataError: samples of another shape than the data's.
    """
    name, colon, path = spec.partition(":")
    if colon and name in DATA.names() and (samples := DATA.load(name).samples):
        x: Array = samples(path)
        if x.shape[1:] != dataset.x_train.shape[1:]:
            want = list(dataset.x_train.shape[1:])
            raise DataError(f"reference '{spec}' has samples of {list(x.shape[1:])}, the data has {want}")
        return of(x), dataset
    n = len(dataset.x_train)
    if not spec.isdecimal() or not 0 < int(spec) < n:
        raise ConfigError(f"reference '{spec}' must be npz:PATH or a number of rows from 1 to {n - 1}")
    order = np.random.default_rng([seed, n]).permutation(n)
    public, private = np.sort(order[: int(spec)]), np.sort(order[int(spec) :])
    rest = replace(
        dataset,
        x_train=dataset.x_train[private],
        y_train=dataset.y_train[private],
        columns={name: values[private] for name, values in dataset.columns.items()},
    )
    return of(dataset.x_train[public]), rest


def assemble(
    train: tuple[Array, Array],
    test: tuple[Array, Array] | None,
    origin: str,
    columns: Mapping[str, Array] | None = None,
    rows: tuple[Array, Array] | None = None,
) -> Dataset:
    """Make a data set from the raw arrays of both parts.

    Args:
        train: samples and labels of the training part, as `standard` and `labels` take them.
        test: samples and labels of the test part; None if there is none.
        origin: of the arrays, for error messages, e.g. "npz:digits.npz".
        columns: further arrays about the training rows.
        rows: numbers of the rows of both parts in the file, if they are of one table.

    Returns:
        The data set in standard form; the labels are as they were.

    Raises:
        DataError: arrays of the wrong type, or whose shapes do not agree; names `origin`.
    """
    x_train, y_train = _part(train, "training", origin)
    x_test, y_test = _part(test, "test", origin) if test else (x_train[:0], y_train[:0])
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(f"{origin}: training samples are {x_train.shape[1:]}, test samples {x_test.shape[1:]}")
    return Dataset(x_train, y_train, x_test, y_test, (), columns or {}, rows)


def hold_out(
    x: Array, y: Array, count: int, seed: int, origin: str, columns: Mapping[str, Array] | None = None
) -> Dataset:
    """Make a data set of one table by holding out rows for testing, stratified by class.

    Args:
        x: (n, ...) samples.
        y: (n,) labels.
        count: of the rows to hold out.
        seed: of the choice.
        origin: of the arrays, for error messages.
        columns: further arrays (n,) about the rows.

    Returns:
        The data set in standard form.

    Raises:
        DataError: as `assemble`, or too few rows.
    """
    if len(x) != len(y):
        raise DataError(f"{origin}: {len(x)} samples, but {len(y)} labels")
    random = np.random.default_rng(seed)
    order = random.permutation(len(y))
    # Rows of one class stand together, in random order; every n/count-th then holds each class's share.
    ranked = order[np.argsort(labels(y, origin)[order], kind="stable")]
    if not 0 < count < len(y):
        raise DataError(f"{origin}: {len(y)} rows are too few to hold out {count} for testing")
    at = np.zeros(len(y), bool)
    at[ranked[np.linspace(0, len(y) - 1, count).round().astype(np.int64)]] = True
    kept = {name: values[~at] for name, values in (columns or {}).items()}
    return assemble((x[~at], y[~at]), (x[at], y[at]), origin, kept, (np.flatnonzero(~at), np.flatnonzero(at)))


def standard(x: Array, origin: str) -> Array:
    """Bring samples to float32 with the channels first.

    Integers are taken for images: they are scaled to [0, 1] by the largest value of their type, (n, H, W) gets a
    channel axis, and a last axis of 1, 3 or 4 becomes the first. Floats keep their values; (n, T, C) with C < T is
    taken for windows of T samples of C sensors and becomes (n, C, T), and (n, H, W, C) is treated as for integers.

    Args:
        x: (n, ...) numbers.
        origin: of the array, for error messages.

    Returns:
        (n, ...) float32, contiguous.

    Raises:
        DataError: not numbers, fewer than two axes, or values that are not finite.
    """
    if x.dtype.kind not in "iufb" or x.ndim < 2:
        raise DataError(f"{origin}: samples must be numbers in (n, ...), got {x.dtype} {list(x.shape)}")
    image = x.dtype.kind in "iub"
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
    """Check that labels are one integer or text per row.

    Args:
        y: the labels.
        origin: of the array, for error messages.

    Returns:
        The labels as they are; text in bytes is decoded.

    Raises:
        DataError: another type or shape.
    """
    if y.ndim != 1 or y.dtype.kind not in "iuUSb":
        raise DataError(f"{origin}: labels must be integers or text, one a row; got {y.dtype} {list(y.shape)}")
    try:
        return np.char.decode(y, "utf-8") if y.dtype.kind == "S" else y
    except UnicodeDecodeError as reason:
        raise DataError(f"{origin}: labels must be UTF-8: {reason}") from None


def _part(part: tuple[Array, Array], name: str, origin: str) -> tuple[Array, Array]:
    """Samples in standard form, and as many labels."""
    x, y = standard(part[0], origin), labels(part[1], origin)
    if len(x) != len(y) or not len(y):
        raise DataError(f"{origin}: {len(x)} {name} samples, but {len(y)} labels")
    return x, y


def _numbered(dataset: Dataset, source: str) -> Dataset:
    """The data set with its labels numbered in their order; logs a note if integers change."""
    if dataset.names:
        return dataset
    y = np.concatenate([dataset.y_train, dataset.y_test])
    values, codes = np.unique(y, return_inverse=True)
    if values.dtype.kind in "iu" and not np.array_equal(values, np.arange(len(values))):
        _log.warning("note: %s: the labels %s are the classes 0 to %d", source, _listed(values), len(values) - 1)
    n, codes = len(dataset.y_train), codes.astype(np.int64)
    return replace(dataset, y_train=codes[:n], y_test=codes[n:], names=tuple(map(str, values)), rows=None)


def _listed(values: Array) -> str:
    """Sorted integers as a note names them."""
    texts = list(map(str, values))
    return ", ".join(texts if len(texts) <= LISTED else [*texts[: LISTED - 2], "...", texts[-1]])


def _against(dataset: Dataset, classes: Classes, source: str) -> Dataset:
    """The data set with its labels as numbers of these classes."""
    if len(dataset.names) not in (0, classes.count) and not classes.names:
        raise DataError(f"{source} has {len(dataset.names)} classes; {classes.origin} has {classes}")
    train, test = dataset.y_train, dataset.y_test
    if dataset.names and classes.names:  # the loader has numbered them in an order of its own
        own = np.array(dataset.names)
        train, test = own[train], own[test]
    rows = dataset.rows

    def row(part: int, index: int) -> str:
        return f"row {rows[part][index]}" if rows else f"{('training', 'test')[part]} row {index}"

    y_train, y_test = (classes.numbers(y, source, partial(row, part)) for part, y in enumerate((train, test)))
    names = classes.names or dataset.names or tuple(map(str, range(classes.count)))
    return replace(dataset, y_train=y_train, y_test=y_test, names=names, rows=None)
