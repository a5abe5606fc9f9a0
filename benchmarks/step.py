"""One training step, side by side: the exported graph on stock ONNX Runtime, and PyTorch eager.

    python -m benchmarks.step [--batches 1,8,32] [--json]

One thread each, one process, SGD, the same weights. The two take turns in short bursts, so that a
noisy neighbour slows both; the table gives medians over all steps, and the ratio of the medians.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from edge.engines.onnx_runtime import create
from export import zoo
from export.write import export

SHAPE, CLASSES, RATE = (1, 28, 28), 10, 0.01
BURST = 10


def torch_twin(spec: str) -> torch.nn.Module:
    """The same architecture in PyTorch, for the specs of `MODELS`."""
    nn = torch.nn
    if spec == "mlp:200":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 200), nn.ReLU(), nn.Linear(200, CLASSES))
    if spec == "lenet":
        features = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU()]
        head = [nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, CLASSES)]
        return nn.Sequential(*features, nn.MaxPool2d(2), nn.Flatten(), *head)
    features = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    features += [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*features, nn.Flatten(), nn.Linear(1568, CLASSES))


MODELS = ("small-cnn", "mlp:200", "lenet")


def ours(spec: str, x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """A step of the exported graph on this batch."""
    with tempfile.TemporaryDirectory() as folder:
        engine = create(export(zoo.build(spec, shape=SHAPE, classes=CLASSES), Path(folder) / "bundle"))
    return lambda: engine.step({"x": x, "labels": y}, learning_rate=RATE)


def theirs(spec: str, x: np.ndarray, y: np.ndarray) -> Callable[[], object]:
    """A step of PyTorch eager on this batch, its loss read back as ours is."""
    model = torch_twin(spec)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    loss_of = torch.nn.CrossEntropyLoss()
    xt, yt = torch.from_numpy(x), torch.from_numpy(y)

    def step() -> float:
        optimizer.zero_grad()
        loss = loss_of(model(xt), yt)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def measure(steps: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median milliseconds a step of each, taken in turns for about `seconds`."""
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


def main() -> int:
    """Print the table (or JSON)."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--batches", default="1,8,32")
    parser.add_argument("--seconds", type=float, default=4.0, help="per row")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    rows = []
    for spec in args.models.split(","):
        for batch in map(int, args.batches.split(",")):
            x = random.random((batch, *SHAPE), dtype=np.float32)
            y = random.integers(0, CLASSES, batch)
            found = measure({"ours": ours(spec, x, y), "torch": theirs(spec, x, y)}, args.seconds)
            rows.append({"model": spec, "batch": batch, **found, "ratio": found["ours"] / found["torch"]})
            if not args.json:
                print(
                    f"{spec:>10} batch {batch:>3}: ours {found['ours']:7.3f} ms   "
                    f"torch {found['torch']:7.3f} ms   ratio {rows[-1]['ratio']:.2f}",
                    flush=True,
                )
    if args.json:
        json.dump({"threads": 1, "torch": torch.__version__, "rows": rows}, sys.stdout, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
