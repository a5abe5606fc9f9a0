"""What --tflite writes, run by ai-edge-litert, against onnx's reference evaluator and our other graph."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from edge.bundle import SQUARED_NORM
from export import tflite, zoo
from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Value
from export.graph.rewrite import TFLITE
from export.graph.window import Window
from export.lowering.filter_gradient import im2col
from export.lowering.tflite_filter_gradient import cells, exchanged
from export.tflite import flatbuffer
from export.training.assemble import assemble
from export.training.proto import model_proto
from tests.export.reference_ops import CORRECTED

Build = Callable[..., Value]


def run(content: bytes, feeds: Mapping[str, Array], key: str = "case") -> dict[str, Array]:
    runner = Interpreter(model_content=content, num_threads=1).get_signature_runner(key)
    narrow = {k: np.atleast_1d(v.astype(np.int32) if v.dtype == np.int64 else v) for k, v in feeds.items()}
    results: dict[str, Array] = runner(**narrow)
    return results


def both(build: Build, feeds: Mapping[str, Array]) -> tuple[Array, Array]:
    """(what TFLite makes of a graph, what the reference evaluator does)."""
    op = GraphBuilder(18)
    for name, value in feeds.items():
        op.argument(name, value.dtype, value.shape)
    proto = model_proto(op, "case", feeds, {"result": build(op, *feeds)}, TFLITE)
    expected: Any = ReferenceEvaluator(proto, new_ops=CORRECTED).run(None, dict(feeds))
    return run(tflite.lowered("case", {"case": proto}, {}), feeds)["result"], np.asarray(expected[0])


def agree(build: Build, feeds: Mapping[str, Array], tolerance: float = 2e-5) -> None:
    ours, expected = both(build, feeds)
    assert ours.shape == expected.shape
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


def floats(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def nhwc(op: GraphBuilder, x: Value) -> Value:
    """The same values, but stored with the channels last."""
    return op("Conv", x, op.const(np.eye(3).reshape(3, 3, 1, 1), np.float32))


IMAGE = floats(2, 3, 4, 5)
POSITIVE = np.abs(IMAGE) + 0.1

CASES: dict[str, tuple[Build, dict[str, Array]]] = {
    "add, broadcast": (lambda op, a, b: op("Add", a, b), {"a": IMAGE, "b": floats(3, 1, 1)}),
    "add, channels last": (lambda op, a, b: op("Add", nhwc(op, a), b), {"a": IMAGE, "b": floats(3, 1, 1)}),
    "two orders": (lambda op, a, b: op("Mul", nhwc(op, a), b), {"a": IMAGE, "b": floats(2, 3, 4, 5, seed=1)}),
    "scalar": (lambda op, a, b: op("Div", nhwc(op, a), b), {"a": IMAGE, "b": floats(1)[0].reshape(())}),
    "vector by matrix": (lambda op, a, b: op("Sub", a, b), {"a": floats(4), "b": floats(3, 4)}),
    "max of three": (lambda op, a, b: op("Max", a, b, op.const(0.1, np.float32)), {"a": floats(4), "b": floats(3, 4)}),
    "power": (lambda op, a: op("Pow", a, op.const(1.5, np.float32)), {"a": POSITIVE}),
    "clip": (
        lambda op, a: op("Clip", a, op.const(-0.5, np.float32), op.const(0.5, np.float32)),
        {"a": IMAGE},
    ),
    "clip below": (lambda op, a: op("Clip", a, op.const(-0.5, np.float32)), {"a": IMAGE}),
    "where": (
        lambda op, a, b: op("Where", op("Less", a, b), nhwc(op, a), b),
        {"a": IMAGE, "b": floats(2, 3, 4, 5, seed=1)},
    ),
    "leaky": (lambda op, a: op("LeakyRelu", a, alpha=0.2), {"a": IMAGE}),
    "equal to float": (
        lambda op, a: op("Cast", op("Equal", a, op("ReduceMax", a, op.const([1]))), to=onnx.TensorProto.FLOAT),
        {"a": IMAGE},
    ),
    "both": (
        lambda op, a, b: op("Cast", op("And", op("Greater", a, b), op("Not", op("Less", b, a))), to=1),
        {"a": IMAGE, "b": floats(2, 3, 4, 5, seed=1)},
    ),
    "transpose": (lambda op, a: op("Transpose", nhwc(op, a), perm=[3, 1, 0, 2]), {"a": IMAGE}),
    "transpose twice": (
        lambda op, a: op("Transpose", op("Transpose", a, perm=[1, 3, 0, 2]), perm=[2, 0, 3, 1]),
        {"a": IMAGE},
    ),
    "flatten": (lambda op, a: op("Flatten", nhwc(op, a), axis=2), {"a": IMAGE}),
    "concat": (lambda op, a: op("Concat", nhwc(op, a), a, axis=1), {"a": IMAGE}),
    "split": (
        lambda op, a: op("Mul", *op.all("Split", nhwc(op, a), op.const([2, 2]), outputs=2, axis=2)),
        {"a": IMAGE},
    ),
    "slice": (
        lambda op, a: op(
            "Slice", nhwc(op, a), op.const([-3, 0]), op.const([99, 5]), op.const([2, 3]), op.const([1, 2])
        ),
        {"a": IMAGE},
    ),
    "slice backwards": (
        lambda op, a: op("Slice", a, op.const([-1]), op.const([-(2**31)]), op.const([3]), op.const([-2])),
        {"a": IMAGE},
    ),
    "pad": (lambda op, a: op("Pad", nhwc(op, a), op.const([0, 0, 1, 2, 0, 1, 0, 3])), {"a": IMAGE}),
    "pad with minus, some axes": (
        lambda op, a: op("Pad", nhwc(op, a), op.const([-1, 2, 1, -2]), op.const(-3, np.float32), op.const([2, 3])),
        {"a": IMAGE},
    ),
    "expand": (lambda op, a: op("Expand", a, op.const([2, 3, 4])), {"a": floats(3, 1)}),
    "expand channels last": (
        lambda op, a: op("Expand", op("ReduceMean", nhwc(op, a), op.const([2, 3])), op.const([2, 3, 2, 2])),
        {"a": IMAGE},
    ),
    "gather": (lambda op, a: op("Gather", a, op.const([2, 0]), axis=1), {"a": IMAGE}),
    "tile": (lambda op, a: op("Tile", a, op.const([2, 1])), {"a": floats(2, 3)}),
    "sum over channels": (lambda op, a: op("ReduceSum", nhwc(op, a), op.const([1]), keepdims=0), {"a": IMAGE}),
    "sum over all": (lambda op, a: op("ReduceSum", a, keepdims=0), {"a": IMAGE}),
    "sum over nothing": (lambda op, a: op("ReduceSum", a, op.const([]), noop_with_empty_axes=1), {"a": IMAGE}),
    "mean, keeping": (lambda op, a: op("ReduceMean", nhwc(op, a), op.const([0, 2])), {"a": IMAGE}),
    "length": (lambda op, a: op("ReduceL2", a, op.const([-1])), {"a": IMAGE}),
    "squares": (lambda op, a: op("ReduceSumSquare", nhwc(op, a), op.const([1, 3]), keepdims=0), {"a": IMAGE}),
    "largest": (lambda op, a: op("ArgMax", a, axis=1, keepdims=0), {"a": floats(5, 4)}),
    "largest, keeping": (lambda op, a: op("ArgMax", nhwc(op, a), axis=1), {"a": IMAGE}),
    "softmax of channels": (lambda op, a: op("Softmax", nhwc(op, a), axis=1), {"a": IMAGE}),
    "log softmax, first axis": (lambda op, a: op("LogSoftmax", a, axis=0), {"a": floats(3, 4)}),
    "cross-entropy": (
        lambda op, a, y: op("SoftmaxCrossEntropyLoss", a, y),
        {"a": floats(5, 4), "y": np.array([0, 3, 1, 1, 2])},
    ),
    "cross-entropy of each": (
        lambda op, a, y: op("SoftmaxCrossEntropyLoss", a, y, reduction="none"),
        {"a": floats(5, 4), "y": np.array([0, 3, 1, 1, 2])},
    ),
    "one-hot": (
        lambda op, y: op("OneHot", y, op.const(4), op.const([-1, 2], np.float32)),
        {"y": np.array([0, 3, 1])},
    ),
    "gemm": (
        lambda op, a, b, c: op("Gemm", a, b, c, transA=1, transB=1, alpha=0.5, beta=2.0),
        {"a": floats(3, 4), "b": floats(5, 3), "c": floats(5)},
    ),
    "batched product": (lambda op, a, b: op("MatMul", a, b), {"a": floats(2, 3, 4), "b": floats(2, 4, 5)}),
    "product, turned": (
        lambda op, a, b: op("MatMul", op.swapped(a), op.swapped(b)),
        {"a": floats(2, 4, 3), "b": floats(2, 5, 4)},
    ),
    "matrix for all": (lambda op, a, b: op("MatMul", a, b), {"a": floats(2, 3, 4), "b": floats(4, 5)}),
    "vector by matrices": (lambda op, a, b: op("MatMul", a, b), {"a": floats(4), "b": floats(2, 4, 5)}),
    "matrix by vector": (lambda op, a, b: op("MatMul", a, b), {"a": floats(3, 4), "b": floats(4)}),
    "dot": (lambda op, a, b: op("MatMul", a, b), {"a": floats(4), "b": floats(4, seed=1)}),
    "max pool, padded": (
        lambda op, a: op("MaxPool", a, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]),
        {"a": IMAGE - 5},
    ),
    "average pool": (lambda op, a: op("AveragePool", a, kernel_shape=[2, 2], strides=[2, 2]), {"a": IMAGE}),
    "average pool, same": (lambda op, a: op("AveragePool", a, kernel_shape=[3, 3], pads=[1, 1, 1, 1]), {"a": IMAGE}),
    "average pool, padding counts": (
        lambda op, a: op("AveragePool", a, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
        {"a": IMAGE},
    ),
    "signal pool": (lambda op, a: op("MaxPool", a, kernel_shape=[2], strides=[2]), {"a": floats(2, 3, 8)}),
    "global pools": (lambda op, a: op("Add", op("GlobalAveragePool", a), op("GlobalMaxPool", a)), {"a": IMAGE}),
    "repeated pixels": (
        lambda op, a: op(
            "Resize",
            a,
            "",
            op.const([1, 1, 2, 3], np.float32),
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        {"a": IMAGE},
    ),
    "normalization": (
        lambda op, a, s, b, m, v: op("BatchNormalization", a, s, b, m, op("Mul", v, v)),
        {"a": IMAGE, **{k: floats(3, seed=i) for i, k in enumerate("sbmv", 1)}},
    ),
    "groups": (
        lambda op, a, w, b: op("Conv", a, w, b, group=2),
        {"a": floats(2, 4, 5, 5), "w": floats(6, 2, 3, 3), "b": floats(6)},
    ),
    "one channel to three in each group": (
        lambda op, a, w: op("Conv", a, w, group=2, pads=[1, 1, 1, 1]),
        {"a": floats(2, 2, 5, 5), "w": floats(6, 1, 3, 3)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_operator(case: str) -> None:
    agree(*CASES[case])


@pytest.mark.parametrize("name", ["Abs", "Cos", "Elu", "Exp", "HardSwish", "Neg", "Relu", "Sigmoid", "Sin", "Tanh"])
def test_function(name: str) -> None:
    agree(lambda op, a: op(name, nhwc(op, a)), {"a": IMAGE})


@pytest.mark.parametrize("name", ["Log", "Sqrt", "Reciprocal"])
def test_function_of_positive_numbers(name: str) -> None:
    agree(lambda op, a: op(name, a), {"a": POSITIVE})


@st.composite
def geometries(draw: st.DrawFn) -> tuple[tuple[int, ...], Window, int, int]:
    """(size of the image, window, channels, filters)."""
    n = draw(st.integers(1, 2))

    def some(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(n))

    size, window = some(3, 9), Window(some(1, 3), some(1, 3), some(1, 2), (*some(0, 2), *some(0, 2)))
    assume(min(window.positions(size)) > 0)
    return size, window, draw(st.sampled_from([1, 2, 6])), draw(st.sampled_from([1, 3, 20]))


@settings(max_examples=60, deadline=None)
@given(geometries(), st.booleans())
def test_convolution(geometry: Any, depthwise: bool) -> None:
    size, window, channels, filters = geometry
    group, shape = (channels, (channels, 1)) if depthwise else (1, (filters, channels))
    feeds = {"x": floats(2, channels, *size), "w": floats(*shape, *window.kernel), "b": floats(shape[0])}
    agree(lambda op, x, w, b: op("Conv", x, w, b, group=group, **window.attributes), feeds, 1e-4)


@settings(max_examples=60, deadline=None)
@given(geometries(), st.booleans())
def test_input_gradient_of_a_convolution(geometry: Any, depthwise: bool) -> None:
    """A transposed convolution, whose result has the image's size whatever the strides leave out."""
    size, window, channels, filters = geometry
    group, shape = (channels, (channels, 1)) if depthwise else (1, (filters, channels))
    out = window.positions(size)
    extra = window.skipped(size, out)
    assume(min(extra) >= 0)
    feeds = {"y": floats(2, shape[0], *out), "w": floats(*shape, *window.kernel)}
    agree(
        lambda op, y, w: op("ConvTranspose", y, w, group=group, output_padding=extra, **window.attributes), feeds, 1e-4
    )


@settings(max_examples=60, deadline=None)
@given(geometries(), st.booleans())
def test_weight_gradient_of_a_convolution(geometry: Any, depthwise: bool) -> None:
    """The formulation for TFLite is the one for ONNX Runtime, and TFLite computes it."""
    size, window, channels, filters = geometry
    group = channels if depthwise else 1
    feeds = {
        "x": floats(2, channels, *size),
        "dy": floats(2, channels if depthwise else filters, *window.positions(size)),
    }
    formulation = cells if depthwise else exchanged
    ours, reference = both(lambda op, x, dy: formulation(op, x, dy, window, group), feeds)
    _, usual = both(lambda op, x, dy: im2col(op, x, dy, window, 1), feeds) if not depthwise else (None, reference)
    np.testing.assert_allclose(reference, usual, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours, reference, rtol=1e-4, atol=1e-4)


def test_transposing_moves_nothing() -> None:
    """Two transpositions that cancel leave no operator behind; the image is moved once for two convolutions."""
    op = GraphBuilder(18)
    op.argument("a", np.float32, (2, 3, 4, 5))
    w = op.const(floats(3, 3, 1, 1), np.float32)
    y = op("Add", op("Conv", "a", w), op("Relu", op("Conv", "a", w)))
    content = tflite.lowered("case", {"case": model_proto(op, "case", ["a"], {"y": y}, TFLITE)}, {})
    moves = [o for o in Interpreter(model_content=content)._get_ops_details() if o["op_name"] == "TRANSPOSE"]
    assert len(moves) <= 3  # the image, the filters, and the result back


def test_what_cannot_be_written_is_refused() -> None:
    with pytest.raises(ExportError, match=r"node '.*' \(GRU\) has no TFLite operator; there are: Abs"):
        tflite.build(zoo.build("gru", shape=(6, 32), classes=3), "cross_entropy", "sgd", {"N": 4})


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    monkeypatch.delitem(sys.modules, "export.tflite.flatbuffer")
    monkeypatch.delattr(tflite, "flatbuffer")
    with pytest.raises(ExportError, match=r"needs ai_edge_litert: pip install 'murmur-edge\[export,tflite\]'"):
        tflite.build(zoo.build("mlp:2", shape=(3,), classes=2), "cross_entropy", "sgd", {"N": 4})


def test_what_the_runtime_refuses_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator under a version that no runtime has."""
    real = flatbuffer.Subgraph.emit

    def newer(self: Any, operator: str, *rest: Any, **more: Any) -> int:
        return real(self, operator, *rest, **{**more, "version": 99 if operator == "SOFTMAX" else 1})

    monkeypatch.setattr(flatbuffer.Subgraph, "emit", newer)
    with pytest.raises(ExportError, match=r"--tflite: the runtime refuses what was written: .*SOFTMAX"):
        tflite.build(zoo.build("mlp:2", shape=(3,), classes=2), "cross_entropy", "sgd", {"N": 4})


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "adam", "adamw", "amsgrad", "rmsprop"])
def test_optimizers(optimizer: str) -> None:
    """One step of each, against the reference evaluator on our graph for ONNX Runtime."""
    model = zoo.build("mlp:8", shape=(6,), classes=3)
    rows = {"N": 4}
    content = tflite.build(model, "cross_entropy", optimizer, rows)
    training = assemble(model, optimizer=optimizer)
    feeds: dict[str, Array] = {"x": floats(4, 6), "labels": np.array([0, 1, 2, 1])}
    feeds |= {k: np.float32(v) for k, v in training.manifest["hyper"].items()}
    feeds |= {f"parameter/{k}": v for k, v in model.parameters.items()}
    feeds |= {f"state/{s['name']}": np.abs(floats(*s["shape"])) for s in training.manifest["state"]}
    names = [o.name for o in training.train.graph.output if o.name != SQUARED_NORM]  # its engine looks at the values
    expected: Any = ReferenceEvaluator(training.train, new_ops=CORRECTED).run(names, feeds)
    ours = run(content, feeds, "train")
    assert ours.keys() == set(names)
    for name, value in zip(names, expected, strict=True):
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


OBJECTIVES = [
    "soft_cross_entropy",
    "cross_entropy + squared_error + kullback_leibler(reference)",
    "cross_entropy + squared_error(reference)",
]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("spec", ["mlp:8", "ds-cnn", "resnet8"])
def test_objectives(objective: str, spec: str) -> None:
    """The losses and every next parameter of a step; normalization in training mode included."""
    model = zoo.build(spec, shape=(1, 12, 10), classes=3)
    training = assemble(model, objective=objective)
    rows = tflite.batches(training.manifest["inputs"], (4, 5) if "(reference)" in objective else (4,))
    feeds: dict[str, Array] = {}
    for wanted in training.manifest["inputs"]:
        shape = tuple(rows.get(d, d) for d in wanted["shape"])
        value = np.random.default_rng(1).random(shape, np.float32)
        feeds[wanted["name"]] = np.arange(shape[0]) % 3 if wanted["dtype"] == "int64" else value
    feeds |= {k: np.float32(v) for k, v in training.manifest["hyper"].items()}
    feeds |= {f"parameter/{k}": v for k, v in model.parameters.items()}
    ours = run(tflite.build(model, objective, "sgd", rows), feeds, "train")
    names = [o.name for o in training.train.graph.output if o.name != SQUARED_NORM]  # its engine looks at the values
    expected: Any = ReferenceEvaluator(training.train, new_ops=CORRECTED).run(names, feeds)
    for name, value in zip(names, expected, strict=True):
        np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
