"""An output layer that was written as a copy of the token table follows it; whatever else is equal does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines.onnx_runtime import create
from export.load import from_proto
from export.model import Model
from export.write import export

node = helper.make_node
TOKENS, D, LENGTH = 5, 3, 4
TABLE = np.random.default_rng(0).standard_normal((TOKENS, D)).astype(np.float32)


def loaded(last: Any, weights: dict[str, Any]) -> Model:
    """The mean of the tokens' rows, and an output layer."""
    nodes = [
        node("Gather", ["table", "x"], ["rows"], axis=0),
        node("ReduceMean", ["rows", "one"], ["mean"], keepdims=0),
        last,
    ]
    graph = helper.make_graph(
        nodes,
        "tied",
        [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", TOKENS])],
        [numpy_helper.from_array(v, k) for k, v in (weights | {"one": np.array([1])}).items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return from_proto(proto, name="tied", origin="tied.onnx")


PRODUCT = node("MatMul", ["mean", "head"], ["y"])
CASES = {
    "turned": (PRODUCT, TABLE.T.copy()),
    "copied": (node("Gemm", ["mean", "head"], ["y"], transB=1), TABLE),
}


@pytest.mark.parametrize("case", CASES)
def test_both_uses_train_one_parameter(case: str, tmp_path: Path) -> None:
    last, head = CASES[case]
    model = loaded(last, {"table": TABLE, "head": head})
    assert list(model.parameters) == ["table"]
    assert "so one parameter with it: head is table" in model.notes[0]
    engine = create(export(model, tmp_path / "bundle"))
    x, labels = np.array([[0, 1, 2, 0], [3, 4, 1, 1]]), np.array([4, 0])
    engine.step({"x": x, "labels": labels}, learning_rate=0.5)

    mean = TABLE[x].mean(axis=1)
    logits = mean @ TABLE.T
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (p - np.eye(TOKENS)[labels]) / 2
    gradient = error.T @ mean
    np.add.at(gradient, x, (error @ TABLE / LENGTH)[:, None, :])
    np.testing.assert_allclose(engine.parameters()["table"], TABLE - 0.5 * gradient, atol=1e-6)


OTHERS = {
    "other numbers": (TABLE, TABLE.T + np.float32(1e-6)),
    "one number": (np.ones_like(TABLE), np.ones_like(TABLE.T)),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_only_looks_alike_stays_two_parameters(case: str) -> None:
    table, head = OTHERS[case]
    model = loaded(PRODUCT, {"table": table, "head": head})
    assert sorted(model.parameters) == ["head", "table"]
    assert model.notes == ()
