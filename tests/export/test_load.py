"""What the exporter reads, and what it says of files it cannot use."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.engines.onnx_runtime import create
from export.errors import ExportError
from export.load import load
from export.training.assemble import assemble
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


@pytest.mark.parametrize(("total", "removed"), [("e", True), ("z", False)])
def test_a_final_softmax_that_is_written_out_is_removed(tmp_path: Path, total: str, removed: bool) -> None:
    """As exporters of JAX do it, the largest number of a row taken off before; another quotient is the model's own."""
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("ReduceMax", ["z", "last"], ["m"]),
        helper.make_node("Sub", ["z", "m"], ["s"]),
        helper.make_node("Exp", ["s"], ["e"]),
        helper.make_node("ReduceSum", [total, "last"], ["sum"], keepdims=0),
        helper.make_node("Unsqueeze", ["sum", "last"], ["total"]),
        helper.make_node("Div", ["e", "total"], ["y"]),
    ]
    weights = {"w": np.eye(4, 3, dtype=np.float32), "b": np.ones(3, np.float32), "last": np.array([-1])}
    model = load(saved(classifier(nodes, weights=weights), tmp_path))
    assert (model.output == "s") == removed
    assert any("written out in Exp and Div, was removed" in note for note in model.notes) == removed


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


def sized(nodes: list[Any], x: Any, weights: dict[str, Any], folder: Path) -> Any:
    """An engine for a model, and its loss falls."""
    model = load(saved(classifier(nodes, x=x, weights=weights), folder))
    engine = create(export(model, folder / "bundle"))
    random = np.random.default_rng(0)
    batch = {"x": random.random((5, *model.shape), np.float32), "labels": np.array([0, 1, 2, 0, 1])}
    losses = [engine.step(batch, learning_rate=0.3)["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]
    return model


def test_sizes_worked_out_at_run_time_are_followed(tmp_path: Path) -> None:
    """As PyTorch's exporter writes view(x.size(0), -1, 4): everything but the batch is known."""
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["n"]),
        helper.make_node("Unsqueeze", ["n", "zeros"], ["n1"]),
        helper.make_node("Gather", ["shape", "one"], ["c"]),
        helper.make_node("Gather", ["shape", "two"], ["t"]),
        helper.make_node("Mul", ["c", "t"], ["ct"]),
        helper.make_node("Unsqueeze", ["ct", "zeros"], ["ct1"]),
        helper.make_node("Concat", ["n1", "ct1"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
    ]
    weights = {
        "w": np.full((8, 3), 0.1, np.float32),
        "b": np.zeros(3, np.float32),
        **{k: np.array(v) for k, v in {"zero": 0, "zeros": [0], "one": 1, "two": 2}.items()},
    }
    sized(nodes, ("batch", 2, 4), weights, tmp_path)


@pytest.mark.parametrize("target", [[1, 8], [1, -1], [-1, 8], [0, 8]])
def test_a_batch_fixed_at_one_is_freed(target: list[int], tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "target"], ["flat"]),
        helper.make_node("Gemm", ["flat", "w", "b"], ["y"]),
    ]
    weights = {"w": np.full((8, 3), 0.1, np.float32), "b": np.zeros(3, np.float32), "target": np.array(target)}
    model = sized(nodes, (1, 2, 4), weights, tmp_path)
    assert "its batch, fixed at 1, was made free" in model.notes


def test_a_batch_that_is_fixed_for_good(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Add", ["z", "each"], ["y"]),
    ]
    weights = {"w": np.ones((4, 3), np.float32), "b": np.zeros(3, np.float32), "each": np.eye(2, 3, dtype=np.float32)}
    with pytest.raises(ExportError, match="fixes its batch at 2 inside"):
        assemble(load(saved(classifier(nodes, x=(2, 4), weights=weights), tmp_path)))


@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
def test_automatic_padding_is_written_out(mode: str, tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], auto_pad=mode, strides=[2, 2]),
        helper.make_node("MaxPool", ["c"], ["p"], auto_pad=mode, kernel_shape=[2, 2]),
        helper.make_node("GlobalAveragePool", ["p"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    random = np.random.default_rng(0)
    weights = {
        "k": random.standard_normal((4, 1, 3, 3)).astype(np.float32),
        "w": random.standard_normal((4, 3)).astype(np.float32),
        "b": np.zeros(3, np.float32),
    }
    model = sized(nodes, ("batch", 1, 8, 7), weights, tmp_path)
    import onnxruntime as ort  # noqa: TID251

    x = random.random((5, 1, 8, 7), np.float32)
    start = create(export(model, tmp_path / "again")).predict(x)
    plain = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    e = np.exp(plain - plain.max(axis=1, keepdims=True))
    np.testing.assert_allclose(start, e / e.sum(axis=1, keepdims=True), atol=1e-6)


def test_weights_in_another_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(classifier(), path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert list(load(path).parameters) == ["w", "b"]
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(ExportError, match=r"keeps 'w' in 'weights.bin', which is not beside it"):
        load(path)


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
QUANTIZED = [
    helper.make_node("QuantizeLinear", ["x", "step"], ["xq"], name="q"),
    helper.make_node("DequantizeLinear", ["xq", "step"], ["z"], name="d"),
]
NEXT = helper.make_node("Gemm", ["z", "w", "b"], ["y"])
THEN = helper.make_graph(
    [helper.make_node("Identity", ["x"], ["t"])], "t", [], [helper.make_tensor_value_info("t", F, None)]
)
BRANCH = [
    helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
    helper.make_node("Cast", ["sum"], ["condition"], to=TensorProto.BOOL),
    helper.make_node("If", ["condition"], ["z"], name="if", then_branch=THEN, else_branch=THEN),
]
STEP = {
    "w": np.ones((4, 3), np.float32),
    "b": np.ones(3, np.float32),
    "step": np.array(0.1, np.float32),
}
WHOLE = {"w": np.ones((4, 3), np.int64), "b": np.ones(3, np.int64)}
UNUSABLE = [
    (classifier([helper.make_node("Gemm", ["x", "w", "nobody"], ["y"])]), "not a valid ONNX model"),
    (classifier([helper.make_node("Odd", ["x"], ["y"], domain="com.example")], domain="com.example"), "com.example"),
    (classifier([helper.make_node("Relu", ["x"], ["y"])], weights={}), "no float32 parameters"),
    (classifier([LAYER], weights=WHOLE, dtype=TensorProto.INT64), "no float32 parameters"),
    (classifier([LAYER, helper.make_node("Identity", ["w"], ["w2"])], outputs=("y", "w2")), "has 'y', 'w2'"),
    (classifier(x=("batch", "features")), "fixed sizes"),
    (classifier([*QUANTIZED, NEXT], weights=STEP), r"node 'q' \(QuantizeLinear\): a quantised model cannot be trained"),
    (classifier([*BRANCH, NEXT], weights=STEP), r"node 'if' \(If\): control flow has no gradient rule"),
    (classifier(x=None), "not a valid ONNX model"),
]


@pytest.mark.parametrize(("model", "complaint"), UNUSABLE)
def test_unusable(model: onnx.ModelProto, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=complaint):
        load(saved(model, tmp_path))


def test_of_several_outputs_one_is_named(tmp_path: Path) -> None:
    two = classifier([LAYER, helper.make_node("Relu", ["y"], ["r"])], outputs=("y", "r"))
    assert load(saved(two, tmp_path), "y").output == "y"
    with pytest.raises(ExportError, match="has no value 'q' for --logits; its outputs are 'y', 'r'"):
        load(saved(two, tmp_path), "q")


def test_an_operator_without_a_rule_is_named_with_its_node(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["z"]),
        helper.make_node("Mod", ["z", "z"], ["y"], name="encoder/mod", fmod=1),
    ]
    with pytest.raises(
        ExportError, match=r"no gradient rule for 'Mod' \(node 'encoder/mod' \(Mod\)\), .* layer of 'w'; no layer comes"
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
