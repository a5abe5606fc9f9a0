"""Control flow whose course is known is written out; what depends on the batch or on the data is refused."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import onnxruntime  # noqa: TID251 - the runtime executes loops; onnx's evaluator knows only some
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.load import from_proto
from export.training.assemble import assemble
from export.transforms.control_flow import LONGEST, write_out

node = helper.make_node
F, I, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name: str, kind: int = F, shape: Any = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def body(nodes: list[Any], inputs: list[Any], outputs: list[Any], **tensors: Any) -> onnx.GraphProto:
    initializers = [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()]
    return helper.make_graph(nodes, "body", inputs, outputs, initializers)


def model(
    nodes: list[Any], x: Any, tensors: Mapping[str, Any], outputs: Any = None, opset: int = 18
) -> onnx.ModelProto:
    outputs = outputs or {"y": ["N", 3]}
    graph = helper.make_graph(
        nodes,
        "test",
        [value("x", F, x)],
        [value(y, F, shape) for y, shape in outputs.items()],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def weights(*shape: int) -> np.ndarray:
    return (0.5 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def same(proto: onnx.ModelProto, *shape: int) -> list[str]:
    """Assert that the model written out computes the same, and has no control flow; the names of its nodes."""
    result, _ = write_out(proto)
    assert not {n.op_type for n in result.graph.node} & {"If", "Loop", "Scan"}
    onnx.checker.check_model(result)
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    sessions = [onnxruntime.InferenceSession(p.SerializeToString()) for p in (proto, result)]
    expected, got = (session.run(None, {"x": x}) for session in sessions)
    for theirs, ours in zip(expected, got, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    return [n.name for n in result.graph.node]


def conditional(axis: int, wanted: int) -> onnx.ModelProto:
    """x (N, 1, 4): squeezed if the size of an axis is the one that was wanted, as PyTorch writes squeeze."""
    inner = body([node("Squeeze", ["x", "axis"], ["v"])], [], [value("v")], axis=[1])
    same_as = body([node("Identity", ["x"], ["v"])], [], [value("v")])
    nested = node("If", ["yes"], ["v"], then_branch=inner, else_branch=same_as)
    other = body([node("Reshape", ["x", "sizes"], ["v"])], [], [value("v")], sizes=[-1, 2])
    nodes = [
        node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True))),
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "at"], ["size"]),
        node("Equal", ["size", "wanted"], ["one"]),
        node("If", ["one"], ["s"], then_branch=body([nested], [], [value("v")]), else_branch=other),
        node("MatMul", ["s", "w"], ["y"]),
    ]
    tensors = {"at": axis, "wanted": wanted, "w": weights(4 if wanted == 1 else 2, 3)}
    return model(nodes, [1 if axis == 0 else "N", 1, 4], tensors)


@pytest.mark.parametrize("wanted", [1, 5])
def test_the_branch_that_is_taken_is_written_out(wanted: int) -> None:
    same(conditional(1, wanted), 3, 1, 4)
    assert len(write_out(conditional(1, wanted))[1].branches) == (2 if wanted == 1 else 1)


def test_a_model_with_such_a_branch_is_read() -> None:
    read = from_proto(conditional(1, 1), name="conditional", origin="conditional.onnx")
    assert list(read.parameters) == ["w"]
    assert any("known condition" in note for note in read.notes)


def test_a_condition_on_the_number_of_samples_is_refused() -> None:
    with pytest.raises(ExportError, match="number of samples"):
        from_proto(conditional(0, 1), name="conditional", origin="conditional.onnx")


def cell(outputs: list[Any], opset: int = 18) -> list[Any]:
    """h = tanh(h W^T + r[i]), whose weight is turned and whose row is picked inside."""
    return [
        node("Constant", [], ["two"], value=numpy_helper.from_array(np.array([2], np.float32))),
        node("Transpose", ["w"], ["turned"], perm=[1, 0]),
        node("MatMul", ["h", "turned"], ["product"]),
        node("Gather", ["r", "i"], ["row"]),
        node("Add", ["product", "row"], ["sum"]),
        node("Mul", ["sum", "two"], ["twice"]),
        node("Tanh", ["twice"], ["state"]),
        node("Identity", ["state"], ["row_out"]),
        *outputs,
    ]


def looped(trips: Any = 3, ends: Any = None, opset: int = 18, stacked: bool = True) -> onnx.ModelProto:
    """x (N, 4) through three passes of one cell; y is the last state and the sum of all."""
    ends = ends or [node("Identity", ["go"], ["go_on"])]
    inner = body(
        cell(ends),
        [value("i", I, []), value("go", B, []), value("h", F, ["N", 4])],
        [value("go_on", B, []), value("state"), *([value("row_out")] if stacked else [])],
    )
    nodes = [
        node("Loop", ["trips" if trips else "", "", "x"], ["last", *(["all"] if stacked else [])], "loop", body=inner),
        *([node("ReduceMax", ["all"], ["most"], axes=[0], keepdims=0)] if stacked else []),
        node("Add", ["last", "most" if stacked else "last"], ["both"]),
        node("MatMul", ["both", "head"], ["y"]),
    ]
    tensors = {"w": weights(4, 4), "r": weights(8, 4), "head": weights(4, 3), "limit": 2}
    tensors |= {"trips": trips} if trips else {}
    return model(nodes, ["N", 4], tensors, opset=opset)


@pytest.mark.parametrize("opset", [11, 16])
def test_the_passes_of_a_loop_are_written_out(opset: int) -> None:
    names = same(looped(opset=opset), 2, 4)
    assert "loop/2/Tanh" in "".join(names) or "loop/2/state" in names
    assert sum("turned" in name for name in names) == 1  # what is the same in every pass is written once


def test_a_loop_ends_when_its_condition_does() -> None:
    ends = [node("Less", ["i", "limit"], ["go_on"])]
    _, written = write_out(looped(None, ends, 16))
    assert written.loops == ["loop (3 passes)"]
    assert {"w", "r"} <= written.repeated
    same(looped(9, ends, 16), 2, 4)


def test_the_weights_of_a_loop_stay_one_parameter() -> None:
    read = from_proto(looped(opset=16), name="looped", origin="looped.onnx")
    assert list(read.parameters) == ["w", "r", "head"]
    assert any("written out: loop (3 passes)" in note for note in read.notes)
    assert assemble(read).manifest["classes"] == 3


@pytest.mark.parametrize(
    ("trips", "ends", "reason"),
    [
        (LONGEST + 1, None, f"more than the {LONGEST} passes"),
        (None, None, f"more than the {LONGEST} passes"),
        (5, [node("ReduceMax", ["state"], ["m"], keepdims=0), node("Less", ["m", "m"], ["go_on"])], "on the data"),
    ],
)
def test_a_loop_without_a_known_end_is_refused(trips: Any, ends: Any, reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        from_proto(looped(trips, ends, 16, stacked=False), name="looped", origin="looped.onnx")


def scanned(axis: int, directions: tuple[int, int], size: Any = 5) -> onnx.ModelProto:
    """h = tanh(h + x_t w), and every h along an axis of its own."""
    nodes = [
        node("MatMul", ["row", "w"], ["product"]),
        node("Add", ["product", "h"], ["sum"]),
        node("Tanh", ["sum"], ["state"]),
        node("Neg", ["state"], ["out"]),
    ]
    inner = body(nodes, [value("h"), value("row")], [value("state"), value("out")])
    scan = node(
        "Scan",
        ["start", "x"],
        ["last", "all"],
        "scan",
        body=inner,
        num_scan_inputs=1,
        scan_input_axes=[axis],
        scan_input_directions=directions[:1],
        scan_output_axes=[1],
        scan_output_directions=directions[1:],
    )
    tensors = {"first": 0, "w": weights(4, 3)}
    starts = [node("Gather", ["x", "first"], ["row0"], axis=1), node("MatMul", ["row0", "w"], ["start"])]
    return model([*starts, scan], ["N", size, 4], tensors, {"last": ["N", 3], "all": ["N", "T", 3]})


@pytest.mark.parametrize("directions", [(0, 0), (1, 0), (1, 1)])
def test_a_scan_is_written_out(directions: tuple[int, int]) -> None:
    same(scanned(1, directions), 2, 5, 4)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_scan_over_the_samples_or_a_free_axis_is_refused(axis: int) -> None:
    with pytest.raises(ExportError, match="number of samples"):
        from_proto(scanned(axis, (0, 0), "T"), name="scanned", origin="scanned.onnx", logits="last")
