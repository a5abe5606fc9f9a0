"""Random small graphs of supported operators: their gradients against central differences, in float64."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from export.graph.builder import GraphBuilder
from export.training.autodiff import gradients
from tests.export.directional import OPSET, model_of
from tests.export.reference_ops import CORRECTED

SMOOTH = ["Tanh", "Sigmoid", "Softplus", "Erf", "Sin", "Exp", "Neg", "Identity", "Mish"]
BINARY = ["Add", "Sub", "Mul"]
ROWS, COLUMNS = 3, 4

# Each step names an operator and picks among the values there are so far; all have the shape (3, 4).
KINDS = st.sampled_from([*SMOOTH, *BINARY, "MatMul", "Softmax", "Turn", "Halves"])
STEPS = st.lists(st.tuples(KINDS, st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=8)


def grow(op: GraphBuilder, values: list[str], steps: list[tuple[str, int, int]], square: str) -> str:
    for kind, i, j in steps:
        a, b = values[i % len(values)], values[j % len(values)]
        if kind in SMOOTH:
            values.append(op(kind, op("Tanh", a) if kind == "Exp" else a))
        elif kind in BINARY:
            values.append(op(kind, a, b))
        elif kind == "MatMul":
            values.append(op("MatMul", a, square))
        elif kind == "Softmax":
            values.append(op("Softmax", a, axis=j % 2))
        elif kind == "Turn":
            turned = op("Reshape", op("Transpose", a, perm=[1, 0]), op.const([ROWS, COLUMNS]))
            values.append(op("Add", turned, b))
        else:
            left, right = op.all("Split", a, op.const([1, 3]), outputs=2, axis=1)
            values.append(op("Concat", right, op("Mul", left, left), axis=1))
    return values[-1]


@given(STEPS, st.integers(0, 10**6))
@settings(max_examples=150, deadline=None)
def test_gradients_of_random_graphs(steps: list[tuple[str, int, int]], seed: int) -> None:
    op = GraphBuilder(OPSET)
    shapes = {"x": (ROWS, COLUMNS), "row": (COLUMNS,), "square": (COLUMNS, COLUMNS)}
    for name, shape in shapes.items():
        op.argument(name, np.float64, shape)
    y = grow(op, ["x", op("Mul", "x", "row")], steps, op("Tanh", "square"))
    # The loss reads every input, whatever the steps chose.
    loss = op("Add", op.sum(op("Mul", y, op("Add", "x", "row")), [0, 1]), op.sum("square", [0, 1]))
    forward = model_of(op, list(shapes), [loss])
    adjoints = gradients(op, {loss: op.like(loss, 1)}, list(shapes))
    backward = model_of(op, list(shapes), list(adjoints.values()))
    random = np.random.default_rng(seed)
    point = {name: 0.5 * random.standard_normal(shape) for name, shape in shapes.items()}
    direction = {name: random.standard_normal(shape) for name, shape in shapes.items()}

    def at(step: float) -> float:
        moved = {name: value + step * direction[name] for name, value in point.items()}
        results: Any = ReferenceEvaluator(forward, new_ops=CORRECTED).run(None, moved)
        return float(results[0])

    gradient: Any = ReferenceEvaluator(backward, new_ops=CORRECTED).run(None, point)
    analytic = sum(float(np.vdot(g, direction[name])) for g, name in zip(gradient, shapes, strict=True))
    # Two step sizes tell the error of the difference itself (it falls as h^2) from that of the gradient.
    rough, fine = ((at(h) - at(-h)) / (2 * h) for h in (2e-4, 1e-4))
    error = 1e-5 * max(1.0, abs(analytic)) + 2 * abs(rough - fine)
    assert abs(fine - analytic) <= error
