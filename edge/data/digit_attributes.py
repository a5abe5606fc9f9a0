"""scikit-learn's handwritten digits with five labels that do not exclude one another. 1,797 images, 450 held out.

What is known of an image is not which digit it shows, but whether that is even, prime, above 4, has a loop, or is a
square: 0 has the labels even, loop and square; 7 only prime and above 4.
"""

import numpy as np

from edge.data import hold_out
from edge.errors import ConfigError, DataError
from edge.source import Dataset
from edge.specs import DataSpec
from edge.task import MULTI_LABEL

TEST_ROWS = 450
ATTRIBUTES = {
    "even": (0, 2, 4, 6, 8),
    "prime": (2, 3, 5, 7),
    "above 4": (5, 6, 7, 8, 9),
    "loop": (0, 6, 8, 9),
    "square": (0, 1, 4, 9),
}


def load(argument: str, seed: int) -> Dataset:
    """Load the digits. No argument; x is (n, 1, 8, 8) in [0, 1], y (n, 5) of 0 and 1."""
    if argument:
        raise ConfigError(f"data 'digit-attributes:{argument}': digit-attributes takes no argument")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits come with scikit-learn: pip install 'murmur-edge[sim]'") from None
    digits = load_digits()
    y = np.stack([np.isin(digits.target, have) for have in ATTRIBUTES.values()], axis=1).astype(np.float32)
    dataset = hold_out(digits.images[:, None] / 16.0, y, TEST_ROWS, seed, "digit-attributes")
    return Dataset(**{**vars(dataset), "names": tuple(ATTRIBUTES), "task": MULTI_LABEL})


SPEC = DataSpec(load=load)
