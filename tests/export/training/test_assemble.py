"""The training graph as a whole."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge import plugins
from edge.bundle import CORRECT, LOSS, NEXT, PARAMETER, SQUARED_NORM, STATE, TOTAL
from edge.engines.onnx_runtime import create
from edge.interfaces import Array
from export import zoo
from export.training.assemble import assemble
from export.write import export

BOTH = "cross_entropy + 1.0*squared_error(reference)"


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@pytest.mark.parametrize("optimizer", plugins.names("export.optimizers"))
def test_inputs_and_outputs_are_those_of_the_manifest(optimizer: str) -> None:
    training = assemble(zoo.build("mlp:5", shape=(1, 3, 3), classes=4), objective=BOTH, optimizer=optimizer)
    manifest, graph = training.manifest, training.train.graph
    parameters = [PARAMETER + p["name"] for p in manifest["parameters"]]
    states = [STATE + s["name"] for s in manifest["state"]]
    inputs = [i["name"] for i in manifest["inputs"]]
    assert [i.name for i in graph.input] == [*inputs, *manifest["hyper"], *parameters, *states]
    losses = [LOSS + term for term in manifest["objective"]]
    following = [NEXT + name for name in [*parameters, *states]]
    assert {o.name for o in graph.output} == {*losses, TOTAL, CORRECT, SQUARED_NORM, *following}
    assert set(inputs) == {"x", "reference_x", "labels", "reference_target"}


def test_only_standard_operators(tmp_path: Path) -> None:
    bundle = export(zoo.build("lenet", shape=(1, 28, 28), classes=10), tmp_path / "b", objective=BOTH)
    for file in ("train.onnx", "predict.onnx"):
        model = onnx.load(bundle.path / file)
        onnx.checker.check_model(model, full_check=True)
        assert [(o.domain, o.version) for o in model.opset_import] == [("", bundle.manifest.opset)]
        assert not model.functions
        assert {n.domain for n in model.graph.node} == {""}


def test_one_step_by_hand(tmp_path: Path) -> None:
    """A linear softmax classifier with both terms, in NumPy."""
    engine = create(export(zoo.build("mlp:7", shape=(6,), classes=3), tmp_path / "b", objective=BOTH))
    random = np.random.default_rng(0)
    x, r = random.standard_normal((8, 6)).astype(np.float32), random.standard_normal((5, 6)).astype(np.float32)
    y, q = random.integers(0, 3, 8), softmax(random.standard_normal((5, 3))).astype(np.float32)
    p = engine.parameters()
    metrics = engine.step(
        {"x": x, "labels": y, "reference_x": r, "reference_target": q},
        learning_rate=0.3,
        **{"weight/squared_error(reference)": 2.0},
    )
    w1, b1, w2, b2 = (
        p[k].astype(np.float64) for k in ("hidden1.weight", "hidden1.bias", "output.weight", "output.bias")
    )
    rows = np.concatenate([x, r]).astype(np.float64)
    h = np.maximum(rows @ w1.T + b1, 0)
    s = softmax(h @ w2.T + b2)
    ce = -np.log(s[:8][np.arange(8), y]).mean()
    e = s[8:] - q
    se = (e**2).sum(axis=1).mean()
    assert metrics["loss/cross_entropy"] == pytest.approx(ce, rel=1e-5)
    assert metrics["loss/squared_error(reference)"] == pytest.approx(se, rel=1e-5)
    assert metrics["loss"] == pytest.approx(ce + 2 * se, rel=1e-5)
    assert metrics["correct"] == (s[:8].argmax(axis=1) == y).sum()
    dz = np.concatenate(
        [(s[:8] - np.eye(3)[y]) / 8, 2 * 2 * (s[8:] * e - s[8:] * (s[8:] * e).sum(axis=1, keepdims=True)) / 5]
    )
    dh = (dz @ w2) * (h > 0)
    expected = {
        "hidden1.weight": w1 - 0.3 * dh.T @ rows,
        "hidden1.bias": b1 - 0.3 * dh.sum(axis=0),
        "output.weight": w2 - 0.3 * dz.T @ h,
        "output.bias": b2 - 0.3 * dz.sum(axis=0),
    }
    for name, value in engine.parameters().items():
        np.testing.assert_allclose(value, expected[name], atol=1e-5)


def test_pooling_before_relu_changes_no_value(tmp_path: Path) -> None:
    """The graph that trains predicts what the model as written predicts."""
    import onnxruntime as ort  # noqa: TID251

    model = zoo.build("small-cnn", shape=(1, 8, 8), classes=10)
    graph = onnx.helper.make_graph(
        list(model.nodes),
        "plain",
        [onnx.helper.make_tensor_value_info(model.input, onnx.TensorProto.FLOAT, ["N", 1, 8, 8])],
        [onnx.helper.make_tensor_value_info(model.output, onnx.TensorProto.FLOAT, ["N", 10])],
        [onnx.numpy_helper.from_array(v, k) for k, v in {**model.parameters, **model.constants}.items()],
    )
    plain = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    assert [n.op_type for n in plain.graph.node][1:3] == ["Relu", "MaxPool"]
    bundle = export(model, tmp_path / "b")
    rewritten = [n.op_type for n in onnx.load(bundle.path / "predict.onnx").graph.node]
    assert rewritten[1:3] == ["MaxPool", "Relu"]
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    session = ort.InferenceSession(plain.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = softmax(session.run(None, {model.input: x})[0])
    np.testing.assert_allclose(create(bundle).predict(x), expected, atol=1e-6)


def test_the_same_export_gives_the_same_bytes(tmp_path: Path) -> None:
    digests = [
        export(
            zoo.build("lenet", shape=(1, 28, 28), classes=10, seed=1), tmp_path / name, objective=BOTH
        ).manifest.digests
        for name in "ab"
    ]
    assert digests[0] == digests[1]
