"""Weights that are not float32 initializers train as those do."""

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines.onnx_runtime import create
from export.load import from_proto
from export.model import Model
from export.write import export
from tests.export.test_load import LAYER, classifier

node = helper.make_node
RANDOM = np.random.default_rng(0)
W = RANDOM.standard_normal((4, 3)).astype(np.float16).astype(np.float32)
B = np.array([0.5, -0.25, 1], np.float32)
X = RANDOM.standard_normal((6, 4)).astype(np.float32)


def trained(proto: onnx.ModelProto, folder: Path) -> tuple[Model, Any, Any]:
    """The model, its predictions, and its parameters after some steps, by shape."""
    model = from_proto(proto, name="odd", origin="odd.onnx")
    engine = create(export(model, folder / "bundle"))
    start = engine.predict(X)
    for _ in range(5):
        engine.step({"x": X, "labels": np.array([0, 1, 2, 0, 1, 2])}, learning_rate=0.1)
    return model, start, {v.shape: v for v in engine.parameters().values()}


def literal(name: str, value: Any) -> onnx.NodeProto:
    return node("Constant", [], [name], value=numpy_helper.from_array(value))


def constants() -> onnx.ModelProto:
    """paddle2onnx's: every weight is a node, and a bias is an Add."""
    nodes = [literal("w", W), literal("b", B), node("MatMul", ["x", "w"], ["z"]), node("Add", ["z", "b"], ["y"])]
    return classifier(nodes, weights={})


def behind_a_cast(dtype: Any) -> onnx.ModelProto:
    nodes = [node("Cast", [k + "16"], [k], to=TensorProto.FLOAT) for k in "wb"]
    return classifier([*nodes, LAYER], weights={"w16": W.astype(dtype), "b16": B.astype(dtype)})


def doubles() -> onnx.ModelProto:
    proto = classifier(weights={"w": W.astype(np.float64), "b": B.astype(np.float64)}, dtype=TensorProto.DOUBLE)
    proto.graph.output[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    return proto


def halves_inside() -> onnx.ModelProto:
    """Mixed precision: the layer computes in float16."""
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("Gemm", ["h", "w", "b"], ["z"]),
        node("Cast", ["z"], ["y"], to=TensorProto.FLOAT),
    ]
    return classifier(nodes, weights={"w": W.astype(np.float16), "b": B.astype(np.float16)})


FORMS = {
    "constant nodes": (constants, "weights that were constant nodes became parameters: w, b"),
    "float16": (lambda: behind_a_cast(np.float16), "its float16 numbers became float32, in which it is trained"),
    "bfloat16": (lambda: behind_a_cast(ml_dtypes.bfloat16), "its bfloat16 numbers became float32"),
    "float64": (doubles, "its float64 numbers became float32"),
    "mixed": (halves_inside, "its float16 numbers became float32"),
}


@pytest.mark.parametrize("form", FORMS)
def test_it_trains_as_the_plain_model_does(form: str, tmp_path: Path) -> None:
    build, note = FORMS[form]
    model, start, after = trained(build(), tmp_path)
    assert model.notes[0].startswith(note)
    weight = W.astype(ml_dtypes.bfloat16).astype(np.float32) if form == "bfloat16" else W
    _, plain, expected = trained(classifier(weights={"w": weight, "b": B}), tmp_path / "plain")
    np.testing.assert_allclose(start, plain, atol=1e-6)
    assert after.keys() == expected.keys()
    for shape, value in after.items():
        np.testing.assert_allclose(value, expected[shape], atol=1e-6)


def test_constant_of_shape(tmp_path: Path) -> None:
    fill = numpy_helper.from_array(np.array([0.5], np.float32))
    nodes = [node("ConstantOfShape", ["three"], ["b"], value=fill), LAYER]
    model, start, after = trained(classifier(nodes, weights={"w": W, "three": np.array([3])}), tmp_path)
    assert sorted(model.parameters) == ["b", "w"]
    same = np.full(3, 0.5, np.float32)
    _, plain, expected = trained(classifier(weights={"w": W, "b": same}), tmp_path / "plain")
    np.testing.assert_allclose(start, plain, atol=1e-6)
    np.testing.assert_allclose(after[(3,)], expected[(3,)], atol=1e-6)
