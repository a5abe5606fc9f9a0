"""One training step by `edge.ort_training` and by onnxruntime-training: batch, gradients, update, reset.

    make ort-training
    .venv-ort-training/bin/python -m benchmarks.ort_steps [--batches 8,32] [--seconds 3] [--json]

Both run in one process, on the runtime of the official package, one thread each, in turns of ten steps. In an
environment without that package, ours is measured alone. Medians of the CPU time, in milliseconds, and their ratio.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # noqa: TID251 - what is measured

from edge.command import guarded
from edge.errors import EngineError
from edge.ort_training import api
from edge.training_package import open_package
from export import artifacts, zoo
from export.ort_artifacts import affine, loss_model

MODELS = {"mlp:500": (1, 28, 28), "small-cnn": (1, 28, 28), "lenet": (1, 28, 28)}
CLASSES, BURST, WARM_UP = 10, 10, 3


def packages() -> dict[str, tuple[Any, Any]]:
    """(artifacts, api) of ours, and of the official package where it is installed."""
    known = {"ours": (artifacts, api)}
    try:
        open_package()
    except EngineError:
        return known
    from onnxruntime.training import api as official_api  # noqa: TID251
    from onnxruntime.training import artifacts as official  # noqa: TID251

    return known | {"onnxruntime-training": (official, official_api)}


def step(package: tuple[Any, Any], model: onnx.ModelProto, optimizer: str, batch: list[Any]) -> Callable[[], None]:
    """A step over artifacts in a folder of their own, all float initializers with an axis trained."""
    folder, (generator, module) = tempfile.mkdtemp(), package
    trained = [i.name for i in model.graph.initializer if i.data_type == onnx.TensorProto.FLOAT and i.dims]
    generator.generate_artifacts(
        model, requires_grad=trained, optimizer=generator.OptimType[optimizer], artifact_directory=folder
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    state = module.CheckpointState.load_checkpoint(str(Path(folder) / "checkpoint"))
    network = module.Module(str(Path(folder) / "training_model.onnx"), state, session_options=options)
    update = module.Optimizer(str(Path(folder) / "optimizer_model.onnx"), network)

    def once() -> None:
        network(*batch)
        update.step()
        network.lazy_reset_grad()

    return once


def measured(steps: dict[str, Callable[[], None]], seconds: float) -> dict[str, float]:
    """Medians in milliseconds, of steps taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for once in steps.values():
        for _ in range(WARM_UP):
            once()
    end = time.perf_counter() + seconds * len(steps)
    while time.perf_counter() < end:
        for name, once in steps.items():
            for _ in range(BURST):
                start = time.process_time()
                once()
                times[name].append(1e3 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def run() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.ort_steps", description=__doc__, allow_abbrev=False)
    parser.add_argument("--batches", default="8,32", help="rows of a batch")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    rows: list[dict[str, Any]] = []
    random = np.random.default_rng(0)
    for spec, shape in MODELS.items():
        model = loss_model(affine(zoo.build(spec, shape=shape, classes=CLASSES)), "cross_entropy")
        del model.graph.output[1:]
        for batch in map(int, arguments.batches.split(",")):
            data = [random.random((batch, *shape), np.float32), random.integers(0, CLASSES, batch)]
            for optimizer in ("SGD", "AdamW"):
                steps = {name: step(package, model, optimizer, data) for name, package in packages().items()}
                times = measured(steps, arguments.seconds)
                rows.append({"model": spec, "batch": batch, "optimizer": optimizer, **times})
                ratio = times["ours"] / times.get("onnxruntime-training", float("nan"))
                text = ", ".join(f"{name} {value:.2f} ms" for name, value in times.items())
                if not arguments.json:
                    print(f"{spec} {optimizer} batch {batch}: {text}; ratio {ratio:.2f}", flush=True)
    if arguments.json:
        print(json.dumps({"onnxruntime": onnxruntime.__version__, "rows": rows}))
    return 0


if __name__ == "__main__":
    sys.exit(guarded("benchmarks.ort_steps", run))
