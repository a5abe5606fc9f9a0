"""A model with Dropout in training mode, which no zoo model has."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from export.load import from_proto
from export.model import Model

RATIO = 0.25


def build() -> Model:
    """Linear, dropout, linear: (N, 4) to 3 logits."""
    random = np.random.default_rng(0)
    tensors = {
        "w1": random.standard_normal((4, 50)).astype(np.float32),
        "w2": random.standard_normal((50, 3)).astype(np.float32),
        "ratio": np.array(RATIO, np.float32),
        "training": np.array(True),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w1"], ["h"]),
            helper.make_node("Dropout", ["h", "ratio", "training"], ["d"], name="drop"),
            helper.make_node("MatMul", ["d", "w2"], ["y"]),
        ],
        "test",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return from_proto(proto, name="test", origin="test.onnx")
