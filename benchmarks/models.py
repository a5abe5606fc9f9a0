"""The models the benchmarks run, with the shape of a sample; ten classes. And turns, so that all are slowed alike."""

import statistics
from collections.abc import Callable, Mapping

from edge.bench.intervals import in_turns

CLASSES, RATE = 10, 0.01
SHAPES: dict[str, tuple[int, ...]] = {
    "mlp:200": (1, 28, 28),
    "small-cnn": (1, 28, 28),
    "lenet": (1, 28, 28),
    "resnet8": (3, 32, 32),
    "ds-cnn": (1, 49, 10),
    "mobilenet-v2": (3, 32, 32),
    "tcn": (9, 128),
    "gru": (9, 128),
    "tiny-transformer": (9, 128),
}


def measure(steps: Mapping[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median milliseconds a step of each, taken in turns for about `seconds`."""
    return {name: 1e3 * statistics.median(times) for name, times in in_turns(steps, seconds).items()}
