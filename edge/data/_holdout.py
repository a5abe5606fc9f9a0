"""Which rows of a source are held out for testing: the setting `holdout`.

none           no test part
450, 0.2       so many rows, or that fraction, stratified by class
by:user:6      all rows of six users, drawn by the seed: nobody stands on both sides
"""

import numpy as np

from edge.errors import ConfigError, DataError
from edge.interfaces import Array
from edge.source import Samples, labels

NONE = "none"


def held_out(holdout: str, rows: Samples, seed: int, origin: str) -> Array:
    """Choose the rows for testing.

    Args:
        holdout: the setting.
        rows: all there are.
        seed: of the choice.
        origin: of the rows, for messages.

    Returns:
        (n,) bool.

    Raises:
        ConfigError: a setting that cannot be.
        DataError: too few rows.
    """
    kind, *rest = holdout.split(":")
    if kind == "by" and len(rest) > 1:
        return _by_column(":".join(rest[:-1]), rest[-1], rows, seed, origin)
    if holdout == NONE:
        return np.zeros(len(rows), bool)
    return stratified(rows, _count(holdout, len(rows)), seed, origin)


def stratified(rows: Samples, count: int, seed: int, origin: str) -> Array:
    """Choose rows so that each class, or each range of numbers, has its share.

    Returns (n,) bool; raises DataError: too few rows.
    """
    assert rows.y is not None
    n = len(rows)
    order = np.random.default_rng(seed).permutation(n)
    # Samples of one class stand together, in random order; every n/count-th then holds each class's share.
    y = labels(rows.y, origin)[order]
    ranked = order[np.argsort(y, kind="stable") if y.ndim == 1 else np.lexsort(y.reshape(n, -1).T[::-1])]
    if not 0 < count < n:
        raise DataError(f"{origin}: {n} rows are too few to hold out {count} for testing")
    chosen = np.zeros(n, bool)
    chosen[ranked[np.linspace(0, n - 1, count).round().astype(np.int64)]] = True
    return chosen


def _count(holdout: str, n: int) -> int:
    """How many rows a number or a fraction is."""
    try:
        value = float(holdout)
        count = int(holdout) if holdout.isdecimal() else round(value * n) if 0 < value < 1 else 0
    except ValueError:
        count = 0
    if count < 1:
        raise ConfigError(f"holdout '{holdout}': expected by:COLUMN:N, a number of rows, a fraction below 1, or {NONE}")
    return count


def _by_column(column: str, number: str, rows: Samples, seed: int, origin: str) -> Array:
    """All rows with some of a column's values."""
    if column not in rows.columns:
        known = ", ".join(rows.columns) or "none"
        raise ConfigError(f"holdout 'by:{column}:{number}': {origin} has no such column; it has: {known}")
    values = np.unique(rows.columns[column])
    if not number.isdecimal() or not 0 < int(number) < len(values):
        raise ConfigError(
            f"holdout 'by:{column}:{number}': expected a number from 1 to {len(values) - 1}, as '{column}' has "
            f"{len(values)} values in {origin}"
        )
    drawn = np.random.default_rng([seed, len(values)]).permutation(values)[: int(number)]
    return np.isin(rows.columns[column], drawn)
