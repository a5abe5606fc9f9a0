"""A second opinion on every rule that onnx-ad, an independent differentiator of ONNX graphs, covers too.

Convolutions are compared ungrouped and with symmetric padding only: onnx-ad 0.3.0 has no weight gradient
for groups, and with asymmetric pads at stride 1 it shifts the gradient (3 of 3 such cases tried), where
central differences and PyTorch (test_torch.py) agree with us.
"""

import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # noqa: TID251
import pytest

from tests.export.directional import graph_of
from tests.export.gradients.test_elementwise import random

onnx_ad = pytest.importorskip("onnx_ad")
pytestmark = pytest.mark.oracle

Case = tuple[str, list[Any], dict[str, Any]]
CASES: list[Case] = [
    *[(op, [(3, 4), (3, 4)], {}) for op in ("Add", "Sub", "Mul", "Div")],
    *[(op, [(2, 3, 4), (3, 1)], {}) for op in ("Add", "Sub", "Mul", "Div")],
    *[(op, [(3, 5)], {}) for op in ("Relu", "Tanh", "Sigmoid", "Identity", "Softmax", "LogSoftmax")],
    *[
        ("Gemm", [(5, 3) if a else (3, 5), (4, 5) if b else (5, 4), (4,)], {"transA": a, "transB": b, "alpha": 0.5})
        for a, b in itertools.product([0, 1], [0, 1])
    ],
    ("MatMul", [(3, 4), (4, 5)], {}),
    ("MatMul", [(2, 3, 4), (4, 5)], {}),
    ("MatMul", [(2, 3, 4), (2, 4, 5)], {}),
    *[
        ("Conv", [(2, 4, 9, 8), (6, 4, 3, 2), (6,)], {"strides": [s, s], "pads": [p, 1, p, 1]})
        for s, p in itertools.product([1, 2], [0, 1])
    ],
    ("Conv", [(2, 4, 9), (6, 4, 3)], {"dilations": [2], "pads": [2, 2]}),
    ("MaxPool", [(2, 3, 8, 8)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", [(2, 3, 8, 8)], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("AveragePool", [(2, 3, 9, 7)], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ("GlobalAveragePool", [(2, 3, 4, 5)], {}),
    ("Flatten", [(2, 3, 4)], {"axis": 1}),
    ("Transpose", [(2, 3, 4)], {"perm": [2, 0, 1]}),
    ("Concat", [(2, 3), (2, 4)], {"axis": 1}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[2]}")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_agrees(case: Case) -> None:
    op_type, shapes, attributes = case
    inputs = [
        random(*shape, seed=i).astype(np.float32) + (3 if op_type == "Div" and i else 0)
        for i, shape in enumerate(shapes)
    ]
    wanted = range(len(inputs))
    forward, ours = graph_of(op_type, inputs, wanted=list(wanted), **attributes)
    try:
        theirs = onnx_ad.reverse(_static(forward, inputs), layout="onnx")
    except onnx_ad.UnsupportedOperator as missing:
        pytest.fail(f"onnx-ad does not cover {op_type} ({missing}); take the case out of the list")
    feeds = {f"x{i}": x for i, x in enumerate(inputs)}
    y = _run(forward, feeds)[0]
    u = random(*y.shape, seed=9).astype(np.float32)
    seed = next(i.name for i in theirs.graph.input if i.name not in feeds)
    expected = _run(theirs, {**feeds, seed: u[..., None]}, [f"adj_x{i}" for i in wanted])
    for mine, other in zip(_run(ours, {**feeds, "u": u}), expected, strict=True):
        np.testing.assert_allclose(mine, other.reshape(mine.shape), rtol=1e-4, atol=1e-4)


def _static(model: onnx.ModelProto, inputs: list[Any]) -> onnx.ModelProto:
    """The model with its inputs' shapes written out, as onnx-ad wants them."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.input[:]
    for i, x in enumerate(inputs):
        copy.graph.input.append(onnx.helper.make_tensor_value_info(f"x{i}", onnx.TensorProto.FLOAT, x.shape))
    return copy


def _run(model: onnx.ModelProto, feeds: dict[str, Any], outputs: list[str] | None = None) -> list[Any]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[Any] = session.run(outputs, feeds)
    return results
