"""A synthetic stream whose concept changes: Gaussian samples, labelled by a hyperplane that is drawn anew.

"margin-stream:ROWS:DIMENSIONS:CONCEPTS:MARGIN", each with a default. Samples are in the order of time, and the
hyperplane changes at equal intervals. No sample is closer to it than MARGIN (in standard deviations), so that a
model can become perfect and then has nothing left to learn: without a margin the noise of training never ends, and
the local condition of dynamic averaging is violated for ever. The test rows belong to the last concept. Divide the
rows with `--split iid`, which keeps their order, and train with `order` = "stream".
"""

from itertools import pairwise

import numpy as np

from edge.data import Dataset
from edge.errors import ConfigError
from edge.interfaces import Array
from edge.specs import DataSpec

ROWS, DIMENSIONS, CONCEPTS, MARGIN = 20_000, 20, 2, 0.5
TEST = 1_000


def load(argument: str, seed: int) -> Dataset:
    """Draw the stream. argument: up to four numbers, see above; raises ConfigError."""
    given = argument.split(":") if argument else []
    try:
        rows, dimensions, concepts = (
            int(given[i]) if len(given) > i and given[i] else default
            for i, default in enumerate((ROWS, DIMENSIONS, CONCEPTS))
        )
        margin = float(given[3]) if len(given) > 3 else MARGIN
    except ValueError:
        rows = dimensions = concepts = 0
        margin = -1.0
    if len(given) > 4 or min(rows, dimensions, concepts) < 1 or rows < concepts or not 0 <= margin <= 3:
        raise ConfigError(
            f"data 'margin-stream:{argument}': expected ROWS:DIMENSIONS:CONCEPTS:MARGIN, e.g. "
            f"margin-stream:{ROWS}:{DIMENSIONS}:{CONCEPTS}:{MARGIN}, with at least a row a concept, a margin of 0 to 3"
        )
    random = np.random.default_rng([seed, rows, dimensions, concepts])
    x, y = np.empty((rows, dimensions), np.float32), np.empty(rows, np.int64)
    edges = np.linspace(0, rows, concepts + 1).astype(int)
    for first, last in pairwise(edges):
        plane = random.standard_normal(dimensions)
        plane /= np.linalg.norm(plane)
        x[first:last], y[first:last] = _concept(plane, last - first, margin, random)
    x_test, y_test = _concept(plane, TEST, margin, random)
    return Dataset(x, y, x_test, y_test, ("below", "above"))


def _concept(plane: Array, rows: int, margin: float, random: np.random.Generator) -> tuple[Array, Array]:
    """Draw rows at least `margin` from the plane: the component along its normal is redrawn until it is that far."""
    x = random.standard_normal((rows, len(plane)))
    along = x @ plane
    fresh = along
    while (close := np.abs(fresh) < margin).any():
        fresh = np.where(close, random.standard_normal(rows), fresh)
    x += (fresh - along)[:, None] * plane
    return x.astype(np.float32), (fresh > 0).astype(np.int64)


SPEC = DataSpec(load=load)
