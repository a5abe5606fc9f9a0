"""scikit-learn's diabetes patients, a regression: from 10 numbers to how far the disease went within a year.

442 rows, of which 110 are held out for testing. The numbers are scaled as scikit-learn does it, times the square root
of 442, so that their standard deviation is 1. What is learnt is the progression in standard units, (y - 152.13) /
77.09, by mean and deviation of all 442.
"""

import numpy as np

from edge.data import hold_out
from edge.errors import ConfigError, DataError
from edge.source import Dataset
from edge.specs import DataSpec
from edge.task import REGRESSION

TEST_ROWS = 110
MEAN, DEVIATION = 152.13, 77.09


def load(argument: str, seed: int) -> Dataset:
    """Load the patients. No argument; x is (n, 10), y (n, 1)."""
    if argument:
        raise ConfigError(f"data 'diabetes:{argument}': diabetes takes no argument")
    try:
        from sklearn.datasets import load_diabetes
    except ImportError:
        raise DataError("diabetes comes with scikit-learn: pip install 'murmur-edge[sim]'") from None
    patients = load_diabetes()
    x = (patients.data * np.sqrt(len(patients.data))).astype(np.float32)
    y = ((patients.target[:, None] - MEAN) / DEVIATION).astype(np.float32)
    dataset = hold_out(x, y, TEST_ROWS, seed, "diabetes")
    return Dataset(**{**vars(dataset), "names": ("progression",), "task": REGRESSION})


SPEC = DataSpec(load=load)
