"""Every rewrite computes the same values, and leaves alone what it must not touch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.graph.builder import INTERNAL, Array, GraphBuilder, Value
from export.graph.prune import prune
from export.graph.rewrite import ONNX_RUNTIME, TFLITE, load_rewrites
from export.lowering import lower
from export.passes import optimize
from tests.export.gradients.test_elementwise import random
from tests.export.reference_ops import CORRECTED

Feeds = dict[str, Array]
Build = Callable[[GraphBuilder], list[Value]]


def evaluate(op: GraphBuilder, nodes: Sequence[onnx.NodeProto], results: Sequence[Value], feeds: Feeds) -> list[Any]:
    read = {x for node in nodes for x in node.input}
    graph = helper.make_graph(
        list(nodes),
        "case",
        [helper.make_value_info(name, op.types[name]) for name in feeds],
        [helper.make_value_info(result, op.types[result]) for result in results],
        [numpy_helper.from_array(value, name) for name, value in op.constants.items() if name in read],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", op.opset)])
    return list(ReferenceEvaluator(model, new_ops=CORRECTED).run(None, dict(feeds)))


def started(feeds: Feeds) -> GraphBuilder:
    op = GraphBuilder(18)
    for name, value in feeds.items():
        op.argument(name, value.dtype, value.shape)
    return op


def lowered(build: Build, feeds: Feeds, target: str = ONNX_RUNTIME) -> list[str]:
    """The operators after lowering; the values are compared with those before."""
    op = started(feeds)
    results = build(op)
    before = prune(op.nodes, results)
    expected = evaluate(op, before, results, feeds)
    nodes, replaced = lower(op, before, results, target)
    for value, reference in zip(
        evaluate(op, nodes, [replaced.get(r, r) for r in results], feeds), expected, strict=True
    ):
        np.testing.assert_allclose(value, reference, atol=1e-12)
    return [node.op_type for node in nodes]


STEP: Feeds = {"parameter/p": random(4, 3), "A": random(5, 4, seed=1), "B": random(5, 3, seed=2)}
STEP["rate"] = np.asarray(0.1)


def step(op: GraphBuilder) -> Value:
    gradient = op("Gemm", "A", "B", transA=1, alpha=2.0)
    return op("Sub", "parameter/p", op("Mul", gradient, "rate"))


@pytest.mark.parametrize("target", [ONNX_RUNTIME, TFLITE])
def test_gradient_descent_moves_into_the_product(target: str) -> None:
    assert lowered(lambda op: [step(op)], STEP, target) == ["Mul", "Gemm"]


def test_a_gradient_that_is_read_elsewhere_stays() -> None:
    def build(op: GraphBuilder) -> list[Value]:
        following = step(op)
        return [following, op("ReduceSumSquare", op("Gemm", "A", "B", transA=1, alpha=2.0), keepdims=0)]

    assert "Sub" in lowered(build, STEP)


def test_a_gradient_that_is_a_result_stays() -> None:
    assert "Sub" in lowered(lambda op: [step(op), op("Gemm", "A", "B", transA=1, alpha=2.0)], STEP)


def test_only_parameters_move_inside_a_product() -> None:
    feeds = {name.removeprefix("parameter/"): value for name, value in STEP.items()}
    assert "Sub" in lowered(lambda op: [op("Sub", "p", op("Mul", op("Gemm", "A", "B", transA=1), "rate"))], feeds)


@pytest.mark.parametrize("scalar", [np.asarray(2.0), np.asarray([[2.0]])])
def test_a_scalar_operand_becomes_a_vectors(scalar: Array) -> None:
    feeds = {"x": random(6, 2, 1, 1), "s": scalar}
    assert lowered(lambda op: [op("Sub", "s", "x")], feeds) == ["Reshape", "Sub", "Reshape"]


def test_an_ordinary_shape_is_left_alone() -> None:
    assert lowered(lambda op: [op("Sub", "s", "x")], {"x": random(6, 2), "s": np.asarray(2.0)}) == ["Sub"]


@pytest.mark.parametrize(("pads", "dilations"), [([1, 1, 1, 1], [1, 1]), ([0, 1, 2, 1], [2, 1])])
def test_narrow_depthwise_convolutions_are_transposed(pads: list[int], dilations: list[int]) -> None:
    feeds = {"x": random(2, 3, 9, 5), "w": random(3, 1, 3, 3, seed=1), "b": random(3, seed=2)}
    operators = lowered(lambda op: [op("Conv", *feeds, group=3, pads=pads, dilations=dilations)], feeds)
    assert operators == ["Slice", "ConvTranspose"]


def test_pooling_moves_before_relu_unless_the_relu_is_read() -> None:
    feeds = {"x": random(2, 1, 4, 4)}
    for shared in (False, True):
        op = started(feeds)
        relu = op("Relu", "x")
        pooled = op("MaxPool", relu, kernel_shape=[2, 2], strides=[2, 2])
        results = [pooled, op("ReduceSum", relu, keepdims=0)] if shared else [pooled]
        expected = evaluate(op, op.nodes, results, feeds)
        replaced = optimize(op, results, training=True)
        values = evaluate(op, op.nodes, [replaced.get(r, r) for r in results], feeds)
        for value, reference in zip(values, expected, strict=True):
            np.testing.assert_array_equal(value, reference)
        assert [node.op_type for node in op.nodes][:2] == (["Relu", "MaxPool"] if shared else ["MaxPool", "Relu"])


def test_values_that_take_the_place_of_others_are_followed_through_all_rewrites() -> None:
    """The result of one rewrite is rewritten by another: p of the shape (3, 1) moves by a product, then as a vector."""
    feeds = {"parameter/p": random(3, 1), "A": random(5, 3, seed=1), "B": random(5, 1, seed=2), "rate": np.asarray(0.1)}

    def build(op: GraphBuilder) -> list[Value]:
        following = op("Sub", "parameter/p", op("Mul", op("Gemm", "A", "B", transA=1), "rate"))
        return [op("Mul", following, "rate"), following]

    assert lowered(build, feeds) == ["Mul", "Gemm", "Reshape", "Mul", "Reshape"]


def test_a_node_that_is_shared_by_two_graphs_is_not_changed() -> None:
    op = started(STEP)
    following = step(op)
    total = op("Sum", following, "parameter/p")
    texts = [node.SerializeToString() for node in op.nodes]
    lower(op, op.nodes, [total])
    assert [node.SerializeToString() for node in op.nodes] == texts


@pytest.mark.parametrize("target", [ONNX_RUNTIME, TFLITE])
def test_internal_operators_have_a_lowering_for_every_target(target: str) -> None:
    op = started({"x": random(2, 1, 6, 6), "dy": random(2, 3, 4, 4), "w": random(3, 1, 3, 3)})
    dw = op.internal("ConvFilterGradient", "x", "dy", like="w", group=1, strides=[1, 1], dilations=[1, 1], pads=[0] * 4)
    assert op.nodes[0].domain == INTERNAL
    nodes, replaced = lower(op, op.nodes, [dw], target)
    assert {node.domain for node in nodes} == {""}
    assert op.shape(replaced[dw]) == op.shape("w")


@pytest.mark.parametrize("package", ["export.passes", "export.lowering"])
def test_what_a_file_must_have(package: str) -> None:
    for each in load_rewrites(package):
        assert each.operators
        assert each.targets <= {ONNX_RUNTIME, TFLITE}
