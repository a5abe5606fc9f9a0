"""Where no derivative exists, the gradient is the one that PyTorch takes.

The figures are those of torch 2.13. From 2.14 on, clamp gives 0 at its ends, as ReLU6 always did.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime  # noqa: TID251 - the runtime the graphs are for
import pytest

from export.graph.builder import GraphBuilder, Value
from export.training.autodiff import gradients
from tests.export.directional import OPSET, model_of

Build = Callable[[GraphBuilder, Value], Value]
CASES: dict[str, tuple[Build, list[float], list[float]]] = {
    "sqrt of relu": (lambda op, x: op("Sqrt", op("Relu", x)), [-1, 0, 4], [0, 0, 0.25]),
    "pow of relu": (lambda op, x: op("Pow", op("Relu", x), op.like(x, 0.5)), [-1, 0, 4], [0, 0, 0.25]),
    "log of relu": (lambda op, x: op("Log", op("Relu", x)), [-1, 0, 4], [0, 0, 0.25]),
    "sqrt of clip": (lambda op, x: op("Sqrt", op("Clip", x, op.like(x, 0))), [-1, 4], [0, 0.25]),
    "sqrt of max": (lambda op, x: op("Sqrt", op("Max", x, op.like(x, 0))), [-1, 4], [0, 0.25]),
    "pow of 0": (lambda op, x: op("Pow", x, op.like(x, 0)), [0, 2], [0, 0]),
    "square": (lambda op, x: op("Pow", x, op.like(x, 2)), [0, 2], [0, 4]),
    "length of 0": (lambda op, x: op("ReduceL2", x), [0, 0], [0, 0]),
    "length": (lambda op, x: op("ReduceL2", x), [3, 4], [0.6, 0.8]),
    "clip": (lambda op, x: op("Clip", x, op.like(x, 0), op.like(x, 6)), [-1, 0, 3, 6, 7], [0, 1, 1, 1, 0]),
    "max with 0": (lambda op, x: op("Max", x, op.like(x, 0)), [-1, 0, 1], [0, 0.5, 1]),
    "relu": (lambda op, x: op("Relu", x), [-1, 0, 1], [0, 0, 1]),
    "abs": (lambda op, x: op("Abs", x), [-1, 0, 1], [-1, 0, 1]),
}


@pytest.mark.parametrize("name", CASES)
def test_gradient_at_a_kink(name: str) -> None:
    build, at, expected = CASES[name]
    op = GraphBuilder(OPSET)
    x = op.argument("x", np.float32, ["N"])
    loss = op("ReduceSum", build(op, x), keepdims=0)
    adjoint = gradients(op, {loss: op.like(loss, 1)}, [x])[x]
    model = model_of(op, [x], [adjoint]).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    got: Any = session.run(None, {"x": np.array(at, np.float32)})
    np.testing.assert_allclose(got[0], expected, rtol=1e-6)
