"""What every loader gives, and how raw arrays are brought to that form."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.plugins import load as load_module
from edge.reference import ReferenceSet, of

CHANNELS_LAST = (1, 3, 4)
"""Sizes of a last axis that are taken for colour channels."""


@dataclass(frozen=True)
class Dataset:
    """x: (n, channels, ...) float32, integer images scaled to [0, 1]. y: (n,) int64 in 0 .. classes-1.

    columns: further arrays (n,) about the training rows. names: of the classes.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    names: tuple[str, ...]
    columns: Mapping[str, Array] = field(default_factory=dict)

    @property
    def classes(self) -> int:
        """K."""
        return len(self.names)


def load(source: str, seed: int) -> Dataset:
    """Load "NAME" or "NAME:ARGUMENT".

    Raises:
        ConfigError: no such loader. DataError: what is wrong with the data, and where.
    """
    name, _, argument = source.partition(":")
    try:
        module = load_module("edge.data", name)
    except ConfigError as unknown:
        raise ConfigError(f"data '{source}': {unknown}") from None
    found: Dataset = module.load(argument, seed)
    return found


def some(dataset: Dataset, rows: int, seed: int) -> Dataset:
    """At most `rows` rows of the training part and of the test part, drawn by seed and left in their order."""
    random = np.random.default_rng([seed, rows])
    train, test = (np.sort(random.permutation(len(y))[:rows]) for y in (dataset.y_train, dataset.y_test))
    return replace(
        dataset,
        x_train=dataset.x_train[train],
        y_train=dataset.y_train[train],
        x_test=dataset.x_test[test],
        y_test=dataset.y_test[test],
        columns={k: v[train] for k, v in dataset.columns.items()},
    )


def take_reference(spec: str, dataset: Dataset, seed: int) -> tuple[ReferenceSet, Dataset]:
    """The reference set, and the data without it.

    Args:
        spec: "N" takes N training rows at random, whose labels nobody sees; "npz:PATH" reads `x` (or `x_train`).
        dataset: to take from.
        seed: of the choice.

    Raises:
        ConfigError, DataError: too many rows, or samples of another shape.
    """
    if spec.startswith("npz:"):
        from edge.data.npz import samples

        x = samples(spec.removeprefix("npz:"))
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
        columns={k: v[private] for k, v in dataset.columns.items()},
    )
    return of(dataset.x_train[public]), rest


def assemble(
    train: tuple[Array, Array],
    test: tuple[Array, Array],
    origin: str,
    columns: Mapping[str, Array] | None = None,
) -> Dataset:
    """A Dataset from raw (x, y) of both parts. Raises DataError naming `origin`."""
    names, y = _numbered(np.concatenate([labels(train[1], origin), labels(test[1], origin)]))
    n = len(train[1])
    x_train, x_test = (standard(x, origin) for x in (train[0], test[0]))
    if x_train.shape[1:] != x_test.shape[1:]:
        raise DataError(f"{origin}: training samples are {x_train.shape[1:]}, test samples {x_test.shape[1:]}")
    for x, labelled, part in ((x_train, n, "training"), (x_test, len(y) - n, "test")):
        if len(x) != labelled or not labelled:
            raise DataError(f"{origin}: {len(x)} {part} samples, but {labelled} labels")
    return Dataset(x_train, y[:n], x_test, y[n:], names, columns or {})


def hold_out(
    x: Array, y: Array, count: int, seed: int, origin: str, columns: Mapping[str, Array] | None = None
) -> Dataset:
    """Hold out about `count` rows for testing: seeded, and of each class its share."""
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
    kept = {k: v[~at] for k, v in (columns or {}).items()}
    return assemble((x[~at], y[~at]), (x[at], y[at]), origin, kept)


def standard(x: Array, origin: str) -> Array:
    """Samples as float32, channels first.

    Integers are images: scaled to [0, 1] by their type's largest value, (n, H, W) gets a channel axis, and a
    last axis of 1, 3 or 4 becomes the first. Floats are kept; with two more axes they are windows of
    T samples of C sensors, C the smaller, and become (n, C, T). (n, H, W, C) is told as for integers.
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
    """Labels as they are, checked to be one integer or text a row."""
    if y.ndim != 1 or y.dtype.kind not in "iuUSb":
        raise DataError(f"{origin}: labels must be integers or text, one a row; got {y.dtype} {list(y.shape)}")
    return y


def _numbered(y: Array) -> tuple[tuple[str, ...], Array]:
    names, codes = np.unique(y, return_inverse=True)
    return tuple(map(str, names)), codes.astype(np.int64)
