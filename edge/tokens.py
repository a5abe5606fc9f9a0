"""Token numbers where data meet the model: they must be in its table, and its other inputs cannot come from data."""

import numpy as np

from edge.bundle import Manifest, X
from edge.errors import ConfigError, DataError
from edge.interfaces import Array


def require(manifest: Manifest, model: str, x: Array, origin: str) -> None:
    """Check that a model can be given samples.

    Args:
        manifest: of the model.
        model: its name, for messages.
        x: (n, ...) samples.
        origin: of the samples, for messages.

    Raises:
        DataError: a token number that the model does not know; names the row.
        ConfigError: a model of several inputs, which data has no arrays for.
    """
    require_one_input(manifest, model)
    size = manifest.vocabulary.get(X)
    if size is None or not x.size:
        return
    flat = np.trunc(x.reshape(len(x), -1))
    wrong = (flat < 0) | (flat >= size)
    if wrong.any():
        row = int(wrong.any(axis=1).argmax())
        number = int(flat[row][wrong[row]][0])
        raise DataError(f"{origin}: row {row} has the token number {number}; {model} knows 0 to {size - 1}")


def require_one_input(manifest: Manifest, model: str) -> None:
    """Check that a model takes one array. Raises ConfigError: it takes several."""
    if manifest.input_names:
        raise ConfigError(
            f"{model} takes {', '.join(manifest.input_names)}, and data has one array x: train it with "
            "the steps of edge.application.Trainer on arrays by name, or export a model with one input"
        )
