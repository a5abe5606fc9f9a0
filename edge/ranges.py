"""The range of every scalar of a training step, for settings and engines alike.

>>> complaint("learning_rate", 0.1), complaint("temperature/kullback_leibler", 0.0)
(None, 'temperature/kullback_leibler must be above 0 and at most 1e+06; it is 0')
"""

import math

LARGEST_RATE = 1e6
"""Above this a step moves weights so far that float32 overflows."""

RANGES: dict[str, tuple[float, float, str]] = {
    "learning_rate": (0.0, LARGEST_RATE, "at least 0 and at most 1e+06"),
    "momentum": (0.0, 1.0, "at least 0 and at most 1"),
    "beta1": (0.0, 1.0, "at least 0 and at most 1"),
    "beta2": (0.0, 1.0, "at least 0 and at most 1"),
    "smoothing": (0.0, 1.0, "at least 0 and at most 1"),
    "epsilon": (0.0, 1.0, "at least 0 and at most 1"),
    "weight_decay": (0.0, LARGEST_RATE, "at least 0 and at most 1e+06"),
    "clip_norm": (math.ulp(0.0), 1e30, "above 0 and at most 1e+30"),
    "temperature": (math.ulp(0.0), LARGEST_RATE, "above 0 and at most 1e+06"),
    "apply": (0.0, 1.0, "0 or 1"),
}
"""Name -> smallest, largest, and both in words. A scalar of one term is called "temperature/TERM"."""


def complaint(name: str, value: float) -> str | None:
    """Say what is wrong with a scalar.

    Args:
        name: of the scalar, e.g. "learning_rate" or "weight/cross_entropy".
        value: what it is to be.

    Returns:
        One clause, or None if the value can be used.
    """
    low, high, words = RANGES.get(name.partition("/")[0], (-1e30, 1e30, "a finite number of at most 1e+30"))
    return None if low <= value <= high else f"{name} must be {words}; it is {value:g}"
