"""Gradient descent inside the product that computes the gradient: p - rate * Gemm(A, B) -> Gemm(rate * A, B, p).

The gradient of a linear layer's weight then never exists in memory, and the parameter is read and written once.
Measured on mlp:200 over PyTorch's time: 0.60 -> 0.45 at batch 1, 0.54 -> 0.44 at 8, 0.45 -> 0.41 at 32
(`edge-bench step`).
"""

import onnx

from edge.bundle import PARAMETER
from export.graph.builder import GraphBuilder, Value
from export.graph.node import attributes
from export.graph.rewrite import ONNX_RUNTIME, TFLITE, Rewrite, ValueIndex


def apply(op: GraphBuilder, node: onnx.NodeProto, index: ValueIndex) -> Value | None:
    """Rewrite where a parameter moves by a scalar times a product without a third operand."""
    parameter, step = node.input
    scaled = index.sole_producer(step, "Mul") if parameter.startswith(PARAMETER) else None
    if scaled is None:
        return None
    gradient, rate = scaled.input
    product = index.sole_producer(gradient, "Gemm")
    if product is None or len(product.input) > 2 or op.shape(rate) != ():
        return None
    A, B = product.input
    written = attributes(product)
    written |= {"alpha": -written.get("alpha", 1.0), "beta": 1.0}
    return op("Gemm", op("Mul", A, rate), B, parameter, **written)


REWRITE = Rewrite(frozenset({"Sub"}), apply, targets=frozenset({ONNX_RUNTIME, TFLITE}))
