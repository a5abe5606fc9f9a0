"""Auxiliary heads, embeddings and split models."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort  # noqa: TID251 - the runtime the graphs are for
import pytest

from edge.engines.onnx_runtime import create
from edge.interfaces import Array
from export import zoo
from export.errors import ExportError
from export.model import Model
from export.transforms import heads
from export.transforms.split import split
from export.write import export


def model() -> Model:
    return zoo.build("small-cnn:16", shape=(1, 8, 8), classes=4)


def outputs(path: Path, parameters: dict[str, Array], x: Array) -> dict[str, Array]:
    """All that predict.onnx gives."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    values = session.run(None, {"x": x, **{f"parameter/{k}": v for k, v in parameters.items()}})
    return dict(zip([o.name for o in session.get_outputs()], values, strict=True))


def images(rows: int = 6) -> Array:
    return np.random.default_rng(0).random((rows, 1, 8, 8), np.float32)


def test_every_head_has_logits_and_the_embedding_is_what_they_read(tmp_path: Path) -> None:
    bundle = export(heads.add(model(), 2), tmp_path / "b", objective=CHAIN)
    assert (bundle.manifest.heads, bundle.manifest.embedding) == (3, (16,))
    parameters = bundle.parameters()
    results = outputs(bundle.path / "predict.onnx", parameters, images())
    assert results["embedding"].shape == (6, 16)
    for i, name in enumerate(["output", "head1", "head2"]):
        logits = results["embedding"] @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"]
        np.testing.assert_allclose(results[f"logits/{i}" if i else "logits"], logits, atol=1e-5)
        p = results[f"probabilities/{i}" if i else "probabilities"]
        np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)


CHAIN = "cross_entropy + soft_cross_entropy(reference,1) + 0.5*soft_cross_entropy(reference,2)"


def test_each_head_has_a_target_of_its_own(tmp_path: Path) -> None:
    bundle = export(heads.add(model(), 2), tmp_path / "b", objective=CHAIN)
    assert [i.name for i in bundle.manifest.inputs][-2:] == ["reference_target/1", "reference_target/2"]
    engine = create(bundle)
    one, two = np.eye(4, dtype=np.float32)[[0] * 6], np.eye(4, dtype=np.float32)[[3] * 6]
    batch = {"x": images(), "labels": np.array([1, 2, 1, 2, 1, 2]), "reference_x": images()}
    for _ in range(60):
        engine.step({**batch, "reference_target/1": one, "reference_target/2": two}, learning_rate=0.1)
    results = outputs(bundle.path / "predict.onnx", engine.parameters(), images())
    assert set(results["logits/1"].argmax(axis=1)) == {0}
    assert set(results["logits/2"].argmax(axis=1)) == {3}
    assert set(results["logits"].argmax(axis=1)) <= {1, 2}


def test_a_head_without_a_term_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"nothing flows back to 'parameter/head2.weight'.*--train"):
        export(heads.add(model(), 2), tmp_path / "b", objective="cross_entropy + soft_cross_entropy(reference,1)")
    assert not (tmp_path / "b").exists()


def test_a_term_without_its_head_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"soft_cross_entropy\(reference,3\): the model has heads 0 to 2"):
        export(heads.add(model(), 2), tmp_path / "b", objective=CHAIN.replace(",2", ",3"))


def test_an_embedding_by_name() -> None:
    assert heads.embed(zoo.build("resnet8", shape=(3, 8, 8), classes=3), "stem").embedding == "stem"
    with pytest.raises(ExportError, match="--embedding nowhere: the model has no such value or node; it begins with"):
        heads.embed(model(), "nowhere")


def test_embedding_distance_needs_an_embedding(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="export with --embedding"):
        export(model(), tmp_path / "b", objective="cross_entropy + embedding_distance(reference)")


@pytest.mark.parametrize("count", [-1, 65])
def test_heads_out_of_range(count: int) -> None:
    with pytest.raises(ExportError, match="expected 0 to 64"):
        heads.add(model(), count)


def test_a_split_model_is_the_model(tmp_path: Path) -> None:
    """Features of the device's part, fed to the server's, give the whole's logits."""
    whole = zoo.build("resnet8", shape=(3, 8, 8), classes=5)
    device, server = split(whole, "stem")
    x = np.random.default_rng(0).random((4, 3, 8, 8), np.float32)
    parts = {}
    for name, part in {"edge": device, "server": server, "whole": whole}.items():
        parts[name] = export(part, tmp_path / name)
    features = outputs(parts["edge"].path / "predict.onnx", parts["edge"].parameters(), x)["embedding"]
    assert features.shape == (4, 16, 8, 8)
    got = outputs(parts["server"].path / "predict.onnx", parts["server"].parameters(), features)["logits"]
    expected = outputs(parts["whole"].path / "predict.onnx", parts["whole"].parameters(), x)["logits"]
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_fedgkt_counts() -> None:
    """Algorithms 5, G1: the device's model, and the server's, which is ResNet-56 without its stem."""
    whole, small = (zoo.build(name, shape=(3, 32, 32), classes=10) for name in ("resnet56", "gkt-edge"))
    device, server = split(whole, "stem", edge=small)
    trained = [sum(v.size for k, v in m.parameters.items() if m.trains(k)) for m in (device, server)]
    stem = 3 * 16 * 9 + 2 * 16
    assert trained == [10_586, 591_322 - stem]
    assert (device.embedding, server.shape) == ("stem", (16, 32, 32))


def test_cuts_that_do_not_cut() -> None:
    whole = zoo.build("resnet8", shape=(3, 8, 8), classes=5)
    inside = next(n.output[0] for n in whole.nodes if n.op_type == "Conv" and "stage1.0.conv1.weight" in n.input)
    with pytest.raises(ExportError, match="a path leads around it"):
        split(whole, inside)
    with pytest.raises(ExportError, match=r"--split-at nowhere"):
        split(whole, "nowhere")
    with pytest.raises(ExportError, match=r"the --edge model reads \[3, 4, 4\]"):
        split(whole, "stem", edge=zoo.build("gkt-edge", shape=(3, 4, 4), classes=5))


def test_every_term_can_be_exported_by_every_head(tmp_path: Path) -> None:
    """The full objective of FedGKT's device and server."""
    device, server = split(zoo.build("resnet8", shape=(3, 8, 8), classes=5), "stem")
    for part in (device, server):
        bundle = export(part, tmp_path / part.name, objective="cross_entropy + 2*kullback_leibler")
        assert bundle.manifest.hyper["temperature/kullback_leibler"] == 1.0
        engine = create(bundle)
        random = np.random.default_rng(0)
        batch: dict[str, Array] = {
            "x": random.random((6, *part.shape), np.float32),
            "labels": random.integers(0, 5, 6),
            "target_logits": random.standard_normal((6, 5)).astype(np.float32),
        }
        losses = [engine.step(batch, learning_rate=0.05, **{"temperature/kullback_leibler": 2.0}) for _ in range(30)]
        assert losses[-1]["loss"] < losses[0]["loss"]
    assert "Softmax" in {n.op_type for n in onnx.load(bundle.path / "predict.onnx").graph.node}
