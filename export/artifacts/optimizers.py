"""The optimizers of the training artifacts: one graph for any model, since all trained parameters are one vector.

    SGD     p <- p - lr g
    AdamW   m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
            p <- p - lr sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)

with the constants that ONNX Runtime's OptimType.AdamW has: b1 = 0.9, b2 = 0.999, epsilon = 1e-6, no weight decay. Its
epsilon is added to the moment before the bias is corrected (Kingma and Ba, 2015, the end of section 2), as in Hugging
Face's AdamW and unlike `export.optimizers.adamw`.
"""

from collections.abc import Callable
from enum import Enum

import numpy as np
import onnx
from onnx import TensorProto

from edge.ort_training.names import GRADIENTS, LEARNING_RATE, MOMENTS, PARAMS, STEP, UPDATED
from export.artifacts.facts import described
from export.graph.builder import GraphBuilder, Value
from export.model import OLDEST
from export.training.proto import model_proto

B1, B2, EPSILON = 0.9, 0.999, 1e-6


class OptimType(Enum):
    """An optimizer that `generate_artifacts` writes."""

    AdamW = 1
    SGD = 2


def optimizer_model(optimizer: OptimType) -> onnx.ModelProto:
    """Write the optimizer model.

    Args:
        optimizer: which.

    Returns:
        The vectors params and gradients, learning_rate (1,) float32 and, for AdamW, step (1,) int64 from 1 and the
        vectors of both moments -> the next values of params and the moments.
    """
    op = GraphBuilder(OLDEST)
    vectors = [op.argument(name, np.float32, ["size"]) for name in (PARAMS, GRADIENTS, *MOMENTS)]
    inputs = [op.argument(LEARNING_RATE, np.float32, [1]), op.argument(STEP, np.int64, [1])]
    following = FORMULAS[optimizer](op)
    results = {UPDATED + name: value for name, value in following.items()}
    read = {x for node in op.nodes for x in node.input}
    proto = model_proto(op, "optimizer", [name for name in (*inputs, *vectors) if name in read], results)
    return described(proto, {})


def _sgd(op: GraphBuilder) -> dict[str, Value]:
    return {PARAMS: op("Sub", PARAMS, op("Mul", GRADIENTS, LEARNING_RATE))}


def _adamw(op: GraphBuilder) -> dict[str, Value]:
    first, second = MOMENTS
    m = op("Add", _scaled(op, first, B1), _scaled(op, GRADIENTS, 1 - B1))
    v = op("Add", _scaled(op, second, B2), _scaled(op, op("Mul", GRADIENTS, GRADIENTS), 1 - B2))
    root = op("Sqrt", _correction(op, B2))
    rate = op("Div", op("Mul", LEARNING_RATE, root), _correction(op, B1))
    change = op("Div", m, op("Add", op("Sqrt", v), op.like(v, EPSILON)))
    return {PARAMS: op("Sub", PARAMS, op("Mul", change, rate)), first: m, second: v}


def _scaled(op: GraphBuilder, value: Value, factor: float) -> Value:
    return op("Mul", value, op.like(value, factor))


def _correction(op: GraphBuilder, beta: float) -> Value:
    """1 - beta^t; in double precision, since 1 - 0.999 has lost five digits of single precision."""
    base = op.const(float(np.float32(beta)), np.float64)
    power = op("Pow", base, op("Cast", STEP, to=TensorProto.DOUBLE))
    return op("Cast", op("Sub", op.like(power, 1), power), to=TensorProto.FLOAT)


FORMULAS: dict[OptimType, Callable[[GraphBuilder], dict[str, Value]]] = {OptimType.AdamW: _adamw, OptimType.SGD: _sgd}
"""what each appends; returns the next value of each vector"""
