"""The other process of `benchmarks.official`: a burst of steps for every line on standard input.

python -m benchmarks.official_worker official|"same runtime" MODEL BATCH
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.official import burst, data, model_of, ours
from edge.errors import MurmurError
from edge_bench.models import RATE
from export.write import export


def official(spec: str, batch: int) -> Callable[[], object]:
    """Prepare a step through `onnxruntime.training.api`."""
    from edge.engines import ort_training

    x, y = data(spec, batch)
    with tempfile.TemporaryDirectory() as folder:
        engine = ort_training.create(export(model_of(spec), Path(folder) / "bundle", official=True))
    return lambda: engine.step({"x": x, "labels": y}, learning_rate=RATE)


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
