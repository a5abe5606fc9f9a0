"""scikit-learn's handwritten digits: 1,797 images of 8 x 8, ten classes. 450 are held out for testing."""

from edge.errors import ConfigError, DataError
from edge.source import DataSource, Samples
from edge.specs import DataSpec

TEST_ROWS = 450


def read(argument: str) -> DataSource:
    """Read the digits. No argument; x is (n, 1, 8, 8) in [0, 1]."""
    if argument:
        raise ConfigError(f"data 'digits:{argument}': digits takes no argument")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError("digits come with scikit-learn: pip install 'murmur-edge[sim]'") from None
    digits = load_digits()
    return DataSource(Samples(digits.images[:, None] / 16.0, digits.target), held_out=TEST_ROWS)


SPEC = DataSpec(read=read)
