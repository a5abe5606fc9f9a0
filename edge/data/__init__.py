"""Data sets: what every source is turned into, and how raw arrays are brought to that form.

A source is a file of this package, named as the configuration names it: `digits`, `npz:PATH`, `csv:PATH?label=y`. It
has `SPEC = DataSpec(read=...)` (`edge.specs`), with

    read(argument) -> DataSource        argument: what follows the colon, "" if nothing does

Data that is drawn with a seed, or is divided and numbered already, has `load(argument, seed) -> Dataset` instead.

Sources leave labels as they are. `load` numbers them: a device by the classes of its bundle, so that a class
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
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path

import numpy as np

from edge.data._holdout import held_out, stratified
from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.labels import Classes
from edge.plugins import Family
from edge.reference import ReferenceSet, of
from edge.source import Dataset, DataSource, Samples, for_task, labels, standard
from edge.specs import DataSpec
from edge.task import CLASSIFICATION, Task

__all__ = ["DATA", "DataSource", "Dataset", "Samples", "assemble", "hold_out", "labels", "load", "path", "samples"]
__all__ += ["standard", "subsample", "take_reference"]

DATA = Family("edge.data", DataSpec, "data", "murmur.data")
_log = logging.getLogger(__name__)

LISTED = 10
"""Labels that a note lists."""


def load(
    source: str,
    seed: int,
    classes: Classes | None = None,
    holdout: str | None = None,
    task: Task | None = None,
    *,
    tokens: bool = False,
) -> Dataset:
    """Load a data set.

    Args:
        source: "NAME" or "NAME:ARGUMENT"; NAME is a file of this package or a registered one.
        seed: of a held-out test part and of synthetic data.
        classes: what the labels are read against. If absent, the data's own labels are numbered in their order, and a
            note is logged where integers change by that.
        holdout: which rows are for testing (`edge.data._holdout`); if absent, those that the source says.
        task: what the labels are for; if absent, what `classes`, or the data set itself, says.
        tokens: whether samples are token numbers, which stay as they are.

    Returns:
        The data set in standard form.

    Raises:
        ConfigError: there is no such source, or it cannot be divided like that.
        DataError: what is wrong with the data, and where; a label that is none of `classes`.
    """
    spec, argument = _spec(source)
    task = classes.task if classes else task
    if spec.read is not None:
        meant = task or CLASSIFICATION
        read = _for_task(spec.read(argument), meant, source)
        dataset = replace(_divided(read, holdout, seed, source, tokens=tokens), task=meant)
    elif spec.load is None:
        raise ConfigError(f"data '{source}': its SPEC has neither `read` nor `load`")
    elif holdout is not None:
        raise ConfigError(f"holdout '{holdout}': {source} comes with a test part of its own; leave holdout out")
    else:
        dataset = spec.load(argument, seed)
        if task not in (None, dataset.task):
            raise DataError(f"{source} is for {dataset.task.name}, not for {task.name if task else ''}")
        if tokens:
            x_train, x_test = (standard(x, source, tokens=True) for x in (dataset.x_train, dataset.x_test))
            dataset = replace(dataset, x_train=x_train, x_test=x_test)
    if not dataset.task.simplex:
        return _outputs(dataset, classes, source)
    return _numbered(dataset, source) if classes is None else _against(dataset, classes, source)


def path(source: str) -> Path | None:
    """Return the file or folder that a source reads; None if it reads none, or is no source."""
    name, colon, argument = source.partition(":")
    if not colon or name not in DATA.names() or not DATA.load(name).file:
        return None
    return Path(argument.partition("?")[0])


def samples(source: str, shape: tuple[int, ...] | None = None, *, tokens: bool = False) -> Array:
    """Read samples without their labels.

    Args:
        source: as for `load`.
        shape: of a sample; a model that takes vectors gets them flattened.
        tokens: whether they are token numbers, which stay as they are.

    Returns:
        (n, ...) float32 in standard form, or int64 tokens; of a data set, its training part.

    Raises:
        ConfigError, DataError: as `load`.
    """
    spec, argument = _spec(source)
    if spec.samples is not None:
        x = standard(spec.samples(argument), source, tokens=tokens)
    elif spec.read is not None:
        x = standard(spec.read(argument).rows.x, source, tokens=tokens)
    else:
        x = load(source, 0, tokens=tokens).x_train
    flat = shape is not None and len(shape) == 1 and prod(x.shape[1:]) == shape[0]
    return x.reshape(len(x), -1) if flat else x


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
        spec: "N" takes N training rows at random, whose labels nobody sees; a source ("npz:PATH") is read as it is.
        dataset: to take from.
        seed: of the choice.

    Returns:
        The reference set, and the data set without its rows.

    Raises:
        ConfigError: too many rows, or a spec that is neither.
        DataError: samples of another shape than the data's.
    """
    name, colon, _ = spec.partition(":")
    if colon and name in DATA.names() and (DATA.load(name).samples or DATA.load(name).read):
        x = samples(spec, tokens=dataset.x_train.dtype == np.int64)
        if x.shape[1:] != dataset.x_train.shape[1:]:
            want = list(dataset.x_train.shape[1:])
            raise DataError(f"reference '{spec}' has samples of {list(x.shape[1:])}, the data has {want}")
        return of(x), dataset
    n = len(dataset.x_train)
    if not spec.isdecimal() or not 0 < int(spec) < n:
        raise ConfigError(
            f"reference '{spec}' must be a source such as npz:PATH, or a number of rows from 1 to {n - 1}"
        )
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
    *,
    tokens: bool = False,
) -> Dataset:
    """Make a data set from the raw arrays of both parts.

    Args:
        train: samples and labels of the training part, as `standard` and `labels` take them.
        test: samples and labels of the test part; None if there is none.
        origin: of the arrays, for error messages, e.g. "npz:digits.npz".
        columns: further arrays about the training rows.
        rows: where the rows of both parts are, as text for messages.
        tokens: whether samples are token numbers, which stay as they are.

    Returns:
        The data set in standard form; the labels are as they were.

    Raises:
        DataError: arrays of the wrong type, or whose shapes do not agree; names `origin`.
    """
    x_train, y_train = _part(train, "training", origin, tokens=tokens)
    x_test, y_test = _part(test, "test", origin, tokens=tokens) if test else (x_train[:0], y_train[:0])
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
    rows = _checked(Samples(x, y, columns or {}), "", origin)
    return _parted(rows, stratified(rows, count, seed, origin), origin)


def _spec(source: str) -> tuple[DataSpec, str]:
    """The plug-in that a source names, and its argument."""
    name, _, argument = source.partition(":")
    try:
        return DATA.load(name), argument
    except ConfigError as unknown:
        raise ConfigError(f"data '{source}': {unknown}") from None


def _divided(source: DataSource, holdout: str | None, seed: int, origin: str, *, tokens: bool) -> Dataset:
    """A source's training and test part."""
    rows, test = source.rows, source.test
    if holdout is not None and test is not None:
        raise ConfigError(f"holdout '{holdout}': {origin} has a test part of its own; leave holdout out, or that part")
    if rows.y is None or (test is not None and test.y is None):
        raise DataError(f"{origin} has no labels to train on")
    if holdout is None and source.held_out is None:
        return assemble(
            (rows.x, rows.y),
            None if test is None or test.y is None else (test.x, test.y),
            origin,
            rows.columns,
            _places(rows, test),
            tokens=tokens,
        )
    rows = _checked(rows, "", origin)
    if holdout is not None:
        return _parted(rows, held_out(holdout, rows, seed, origin), origin, tokens=tokens)
    assert source.held_out is not None
    return _parted(rows, stratified(rows, source.held_out, seed, origin), origin, tokens=tokens)


def _for_task(source: DataSource, task: Task, origin: str) -> DataSource:
    """A source with its labels in the form that a task has them in."""
    rows, test = (
        part if part is None or part.y is None else replace(part, y=for_task(part.y, task, origin))
        for part in (source.rows, source.test)
    )
    assert rows is not None
    return replace(source, rows=rows, test=test)


def _outputs(dataset: Dataset, classes: Classes | None, source: str) -> Dataset:
    """The data set with names for its outputs, which are as many as the bundle says."""
    y, names = dataset.y_train, dataset.names
    count = int(y.max()) + 1 if dataset.task.positions else y.shape[1]
    if classes and (count > classes.count if dataset.task.positions else count != classes.count):
        raise DataError(f"{source} has {count} outputs to learn; {classes.origin} has {classes.count}")
    count = classes.count if classes else count
    return replace(dataset, names=(classes.names if classes else ()) or names or tuple(map(str, range(count))))


def _places(rows: Samples, test: Samples | None) -> tuple[Array, Array] | None:
    """Where the rows of both parts are, if a source says so of both."""
    tested = np.array([]) if test is None else test.places
    return None if rows.places is None or tested is None else (rows.places, tested)


def _checked(rows: Samples, part: str, origin: str) -> Samples:
    """The rows, if there are as many labels as samples."""
    count = 0 if rows.y is None else len(rows.y)
    if len(rows) != count:
        raise DataError(f"{origin}: {len(rows)} {part}samples, but {count} labels")
    return rows


def _parted(rows: Samples, tested: Array, origin: str, *, tokens: bool = False) -> Dataset:
    """A data set of which some rows (n,) bool are for testing."""
    train, test = rows.take(~tested), rows.take(tested)
    assert train.y is not None
    assert test.y is not None
    assert train.places is not None
    assert test.places is not None
    parts = (test.x, test.y) if len(test) else None
    return assemble((train.x, train.y), parts, origin, train.columns, (train.places, test.places), tokens=tokens)


def _part(part: tuple[Array, Array], name: str, origin: str, *, tokens: bool) -> tuple[Array, Array]:
    """Samples in standard form, and as many labels."""
    x, y = standard(part[0], origin, tokens=tokens), labels(part[1], origin)
    _checked(Samples(x, y), f"{name} ", origin)
    if not len(y):
        raise DataError(f"{origin}: there are no {name} samples")
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
        return str(rows[part][index]) if rows else f"{('training', 'test')[part]} row {index}"

    y_train, y_test = (classes.numbers(y, source, partial(row, part)) for part, y in enumerate((train, test)))
    names = classes.names or dataset.names or tuple(map(str, range(classes.count)))
    return replace(dataset, y_train=y_train, y_test=y_test, names=names, rows=None)
