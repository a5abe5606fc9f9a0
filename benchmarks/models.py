"""The models the benchmarks run, with the shape of a sample; ten classes. And turns, so that all are slowed alike."""

import statistics
import time
from collections.abc import Callable, Mapping

CLASSES, RATE, BURST = 10, 0.01, 10
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
    """Median milliseconds a step of each, taken in turns of ten for about `seconds`."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        for _ in range(BURST):
            step()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, step in steps.items():
            for _ in range(BURST):
                start = time.perf_counter()
                step()
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: statistics.median(t) for name, t in times.items()}
