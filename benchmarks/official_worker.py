"""The other process of `benchmarks.official`: a burst of steps for every line on standard input.

python -m benchmarks.official_worker official|"same runtime" MODEL BATCH
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.models import RATE
from benchmarks.official import burst, data, model_of, ours
from edge.errors import MurmurError
from export import ort_artifacts


def official(spec: str, batch: int) -> Callable[[], object]:
    """A step through `onnxruntime.training.api`."""
    files = ort_artifacts.build(model_of(spec), "cross_entropy", "sgd")
    import onnxruntime  # noqa: TID251
    from onnxruntime.training import api  # noqa: TID251

    x, y = data(spec, batch)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / ort_artifacts.FOLDER
        home.mkdir()
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        state = api.CheckpointState.load_checkpoint(str(home / "checkpoint"))
        train, evaluate = (str(home / f"{name}_model.onnx") for name in ("training", "eval"))
        module = api.Module(train, state, evaluate, session_options=options)
        optimizer = api.Optimizer(str(home / "optimizer_model.onnx"), module)
    optimizer.set_learning_rate(RATE)

    def step() -> float:
        loss = module(x, y)
        optimizer.step()
        module.lazy_reset_grad()
        return float(loss)

    return step


def main() -> None:
    """Say ready or why not, then answer every line with ten times."""
    kind, spec, batch = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        step = (official if kind == "official" else ours)(spec, batch)
    except MurmurError as reason:
        print(json.dumps({"refused": str(reason)}), flush=True)
        return
    print(json.dumps({"ready": True}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"times": burst(step)}), flush=True)


if __name__ == "__main__":
    main()
