"""Does it pay to step many devices in one graph? The exported step inside a Scan over stacked parameters, against a
call for each device.

    python -m benchmarks.stacked [--devices 64] [--batch 16] [--seconds 5]

Prints, for every model, the time of a device's step in the stack as a share of that of an engine of its own, in one
run, medians, one thread; and of the engine's own call how much is the graph alone. The losses are equal.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # noqa: TID251 - what is measured
from onnx import helper

from edge.bundle import NEXT, Bundle
from edge.engines import onnx_runtime
from edge_bench.intervals import in_turns, ratio
from export import zoo
from export.write import export

MODELS = {
    "mlp:32": ("mlp:32", (64,)),
    "mlp:256-128": ("mlp:256-128", (64,)),
    "small-cnn": ("small-cnn", (1, 8, 8)),
    "small-cnn, 28 x 28": ("small-cnn:64", (1, 28, 28)),
}
CLASSES = 10


def stacked(model: onnx.ModelProto, scalars: set[str]) -> onnx.ModelProto:
    """Run a graph once for each first index of all its inputs but the scalars, which all share."""
    body = onnx.GraphProto()
    body.CopyFrom(model.graph)
    shared = [i for i in body.input if i.name in scalars]
    scanned = [i for i in body.input if i.name not in scalars]
    del body.input[:]
    body.input.extend(scanned)

    def widened(value: onnx.ValueInfoProto, name: str) -> onnx.ValueInfoProto:
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        return helper.make_tensor_value_info(name, value.type.tensor_type.elem_type, ["D", *dims])

    scan = helper.make_node(
        "Scan",
        [f"all/{i.name}" for i in scanned],
        [f"all/{o.name}" for o in body.output],
        body=body,
        num_scan_inputs=len(scanned),
    )
    graph = helper.make_graph(
        [scan],
        "stacked",
        [*shared, *(widened(i, f"all/{i.name}") for i in scanned)],
        [widened(o, f"all/{o.name}") for o in body.output],
    )
    whole = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    onnx.checker.check_model(whole)
    return whole


def compare(bundle: Bundle, devices: int, batch: int, seconds: float) -> dict[str, float]:
    """Measure one model."""
    random, shape = np.random.default_rng(0), bundle.manifest.shape
    x = random.random((devices, batch, *shape), np.float32)
    y = random.integers(0, CLASSES, (devices, batch))
    engines = [onnx_runtime.create(bundle, threads=1) for _ in range(devices)]
    alone = [0.0] * devices

    def each() -> None:
        alone[:] = [
            e.step({"x": a, "labels": b}, learning_rate=0.01)["loss"] for e, a, b in zip(engines, x, y, strict=True)
        ]

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = onnx.load(bundle.path / "train.onnx")
    together = stacked(model, set(bundle.manifest.hyper))
    session = ort.InferenceSession(together.SerializeToString(), options, providers=["CPUExecutionProvider"])
    plain = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    hyper = {k: np.array(v, np.float32) for k, v in {**bundle.manifest.hyper, "learning_rate": 0.01}.items()}
    names = [i.name for i in model.graph.input if i.name not in hyper]
    start = {k: v for k, v in engines[0].state().items() if k in names}
    feeds = {f"all/{k}": np.repeat(v[None], devices, axis=0) for k, v in start.items()}
    feeds |= {"all/x": x, "all/labels": y}
    outputs = [o.name for o in together.graph.output]
    losses: list[Any] = []

    def stack() -> None:
        fetched = dict(zip(outputs, session.run(outputs, {**feeds, **hyper}), strict=True))
        feeds.update({f"all/{k}": fetched[f"all/{NEXT}{k}"] for k in start if f"all/{NEXT}{k}" in fetched})
        losses[:] = fetched["all/loss"].tolist()

    one = {**start, "x": x[0], "labels": y[0], **hyper}
    each()
    stack()
    np.testing.assert_allclose(alone, losses, rtol=1e-5)
    steps = {"own": each, "stacked": stack, "graph": lambda: [plain.run(None, one) for _ in range(devices)]}
    times = in_turns(steps, seconds)
    return {
        "engine_microseconds": 1e6 * median(times["own"]) / devices,
        "stacked_over_engine": ratio(times["stacked"], times["own"]),
        "graph_alone_over_engine": ratio(times["graph"], times["own"]),
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description="One graph for many devices?")
    parser.add_argument("--devices", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0, help="of every model")
    args = parser.parse_args()
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (spec, shape)) in enumerate(MODELS.items()):
            network = zoo.build(spec, shape=shape, classes=CLASSES, seed=0)
            bundle = export(network, Path(folder) / str(number), objective="cross_entropy", optimizer="sgd")
            figures[name] = compare(bundle, args.devices, args.batch, args.seconds)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
