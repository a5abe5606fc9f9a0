"""scikit-learn's handwritten digits: 1,797 images of 8 x 8, ten classes. 450 are held out for testing."""

from edge.data import Dataset, hold_out
from edge.errors import ConfigError, DataError
from edge.specs import DataSpec

TEST_ROWS = 450


def load(argument: str, seed: int) -> Dataset:
    """Load the digits. No argument; x is (n, 1, 8, 8) in [0, 1]."""
    if argument:
        raise ConfigError(f"data 'digits:{argument}': digits takes no argument")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits come with scikit-learn: pip install 'murmur-edge[sim]'") from None
    digits = load_digits()
    return hold_out(digits.images[:, None] / 16.0, digits.target, TEST_ROWS, seed, "digits")


SPEC = DataSpec(load=load)
