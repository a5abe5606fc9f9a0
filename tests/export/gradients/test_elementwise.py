"""Rules of export/gradients/elementwise.py over their attribute grid."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.graph.builder import GraphBuilder
from export.training.autodiff import gradients
from tests.export.directional import check, graph_of

BROADCASTS = [
    ((3, 4), (3, 4)),
    ((3, 4), (4,)),
    ((4,), (3, 4)),
    ((3, 1), (1, 4)),
    ((2, 3, 4), (3, 1)),
    ((2, 1, 4), (3, 1)),
    ((3, 4), ()),
    ((1, 1), (3, 4)),
]


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def spaced(*shapes: tuple[int, ...], seed: int = 0) -> list[np.ndarray]:
    """Arrays between -2 and 2, of which no two values, in one array or in two, lie near each other.

    Which of two values is the larger, for a maximum or a pooling window, is then beyond doubt.
    """
    rng = np.random.default_rng(seed)
    sizes = [int(np.prod(shape)) for shape in shapes]
    n = sum(sizes)
    values = 4 * (rng.permutation(n) + rng.uniform(0.3, 0.7, n)) / n - 2
    return [v.reshape(shape) for v, shape in zip(np.split(values, np.cumsum(sizes)[:-1]), shapes, strict=True)]


@pytest.mark.parametrize(("a", "b"), BROADCASTS)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
def test_binary(op_type: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check(op_type, random(*a), random(*b, seed=1), wanted=(0, 1))


@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_div(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check("Div", random(*a), 0.5 + np.abs(random(*b, seed=1)), wanted=(0, 1))


@pytest.mark.parametrize("op_type", ["Identity", "Tanh", "Sigmoid"])
@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_unary(op_type: str, shape: tuple[int, ...]) -> None:
    check(op_type, random(*shape))


def test_relu_away_from_its_kink() -> None:
    x = random(4, 5)
    check("Relu", np.sign(x) * (0.1 + np.abs(x)))


@pytest.mark.parametrize("op_type", ["Neg", "Exp", "Erf", "Sin", "Cos"])
def test_more_unary(op_type: str) -> None:
    check(op_type, random(3, 4))


@pytest.mark.parametrize("op_type", ["Sqrt", "Log", "Reciprocal", "Abs"])
def test_unary_on_positive_values(op_type: str) -> None:
    check(op_type, 0.5 + np.abs(random(3, 4)))
    if op_type in ("Reciprocal", "Abs"):
        check(op_type, -0.5 - np.abs(random(3, 4)))


@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_pow(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    check("Pow", 0.5 + np.abs(random(*a)), random(*b, seed=1), wanted=(0, 1))


@pytest.mark.parametrize("exponent", [2.0, 3.0, -1.0, 1.0])
def test_pow_of_negative_values(exponent: float) -> None:
    check("Pow", random(3, 4), np.array(exponent), fixed=(1,))


@pytest.mark.parametrize("op_type", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("shapes", [[(3, 4)], [(3, 4), (3, 4)], [(3, 4), (4,), (3, 1)]])
def test_any_number_of_inputs(op_type: str, shapes: list[tuple[int, ...]]) -> None:
    check(op_type, *spaced(*shapes), wanted=range(len(shapes)))


def test_ties_of_max_share() -> None:
    same = random(3, 4)
    _, backward = graph_of("Max", [same, same], wanted=[0, 1])
    u = np.ones((3, 4))
    adjoints: Any = ReferenceEvaluator(backward).run(None, {"x0": same, "x1": same, "u": u})
    np.testing.assert_allclose(adjoints[0] + adjoints[1], u)


@pytest.mark.parametrize(("a", "b"), BROADCASTS)
def test_where(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    condition = random(*np.broadcast_shapes(a, b), seed=2) > 0
    check("Where", condition, random(*a), random(*b, seed=1), wanted=(1, 2), fixed=(0,))


def test_cast_between_floats_and_not_through_integers() -> None:
    check("Cast", random(3, 4), to=TensorProto.DOUBLE, runtime=False)
    check("CastLike", random(3, 4), random(2), runtime=False)
    op = GraphBuilder(18)
    x = op.argument("x", np.float32, [3])
    y = op("Cast", op("Cast", x, to=TensorProto.INT64), to=TensorProto.FLOAT)
    with pytest.raises(ExportError, match="nothing flows back to 'x'"):
        gradients(op, {y: x}, ["x"])
