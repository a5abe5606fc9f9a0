"""What the exporter reads, and what it says of files it cannot use."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines.onnx_runtime import create
from export.assemble import assemble
from export.errors import ExportError
from export.model import load
from export.write import export

F = TensorProto.FLOAT


def classifier(
    nodes: list[Any] | None = None,
    *,
    opset: int = 18,
    x: Any = ("batch", 4),
    outputs: tuple[str, ...] = ("y",),
    dtype: int = F,
    weights: Any = None,
    domain: str = "",
) -> onnx.ModelProto:
    """A linear classifier from 4 features to 3 classes, or what a test makes of it."""
    tensors = {"w": np.full((4, 3), 0.1, np.float32), "b": np.zeros(3, np.float32)} if weights is None else weights
    nodes = nodes or [helper.make_node("Gemm", ["x", "w", "b"], ["y"], name="layer")]
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", dtype, x)],
        [helper.make_tensor_value_info(o, F, ["rows", "columns"]) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    imports = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=imports, ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def test_a_plain_classifier(tmp_path: Path) -> None:
    model = load(saved(classifier(), tmp_path))
    assert (model.name, model.shape, list(model.parameters)) == ("model", (4,), ["w", "b"])
    assert assemble(model).manifest["classes"] == 3


def test_a_final_softmax_is_removed(tmp_path: Path) -> None:
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["z"]), helper.make_node("Softmax", ["z"], ["y"])]
    model = load(saved(classifier(nodes), tmp_path))
    assert model.output == "z"
    assert "Softmax was removed" in model.notes[0]


def test_constants_are_not_trained(tmp_path: Path) -> None:
    scale = numpy_helper.from_array(np.array([2.0], np.float32))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=scale),
        helper.make_node("Mul", ["x", "two"], ["doubled"]),
        helper.make_node("Gemm", ["doubled", "w", "b"], ["y"]),
    ]
    model = load(saved(classifier(nodes), tmp_path))
    assert list(model.parameters) == ["w", "b"]
    assert list(model.constants) == ["two"]


def test_an_older_operator_set_is_converted(tmp_path: Path) -> None:
    model = load(saved(classifier(opset=13), tmp_path))
    assert model.opset == 18
    assert "operator set 13 was converted to 18" in model.notes
    engine = create(export(model, tmp_path / "bundle"))
    x = np.eye(4, dtype=np.float32)
    losses = [engine.step({"x": x, "labels": np.array([0, 1, 2, 0])})["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]


def test_a_newer_operator_set_is_kept(tmp_path: Path) -> None:
    assert load(saved(classifier(opset=20), tmp_path)).opset == 20


@pytest.mark.parametrize("content", [b"", b"\x08", b"not a model at all", bytes(range(256)) * 8])
def test_not_onnx(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(content)
    with pytest.raises(ExportError, match=r"broken\.onnx"):
        load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_cut_short(share: float, tmp_path: Path) -> None:
    content = classifier(weights={"w": np.ones((4, 3), np.float32), "b": np.ones(3, np.float32)}).SerializeToString()
    path = tmp_path / "short.onnx"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ExportError, match=r"short\.onnx"):
        load(path)


def test_missing(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no ONNX file at"):
        load(tmp_path / "none.onnx")


LAYER = helper.make_node("Gemm", ["x", "w", "b"], ["y"])
WHOLE = {"w": np.ones((4, 3), np.int64), "b": np.ones(3, np.int64)}
UNUSABLE = [
    (classifier([helper.make_node("Gemm", ["x", "w", "nobody"], ["y"])]), "not a valid ONNX model"),
    (classifier([helper.make_node("Odd", ["x"], ["y"], domain="com.example")], domain="com.example"), "com.example"),
    (classifier([helper.make_node("Relu", ["x"], ["y"])], weights={}), "no float32 parameters"),
    (classifier([LAYER], weights=WHOLE, dtype=TensorProto.INT64), "no float32 parameters"),
    (classifier([LAYER, helper.make_node("Identity", ["w"], ["w2"])], outputs=("y", "w2")), "has 'y', 'w2'"),
    (classifier(x=("batch", "features")), "fixed sizes"),
    (classifier(x=None), "not a valid ONNX model"),
]


@pytest.mark.parametrize(("model", "complaint"), UNUSABLE)
def test_unusable(model: onnx.ModelProto, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=complaint):
        load(saved(model, tmp_path))


def test_an_operator_without_a_rule_is_named_with_its_node(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Tan", ["z"], ["y"], name="encoder/tan"),
    ]
    with pytest.raises(
        ExportError, match=r"no gradient rule for 'Tan' \(node 'encoder/tan' \(Tan\)\); rules exist for"
    ):
        export(load(saved(classifier(nodes), tmp_path)), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_model_that_gives_no_logits(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("ReduceSum", ["z"], ["y"], keepdims=0),
    ]
    with pytest.raises(ExportError, match=r"must give logits \(batch, classes\); it gives \[\]"):
        assemble(load(saved(classifier(nodes), tmp_path)))
