"""Inputs of ONNX files: free axes, token numbers, several inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.application import Trainer
from edge.engines._batch import random_batch
from edge.engines.onnx_runtime import create
from edge.errors import EngineError
from export.cli import main
from export.errors import ExportError
from export.load import load
from export.training.assemble import assemble
from export.write import export
from tests.models_of_inputs import TOKENS, embedding_classifier, two_inputs


def free(*, axes: tuple[Any, ...] = ("batch", "T", 4), folder: Path) -> Path:
    """A model that averages over time, whose number of steps is free."""
    nodes = [
        helper.make_node("ReduceMean", ["x", "one"], ["mean"], keepdims=0),
        helper.make_node("Gemm", ["mean", "w", "b"], ["y"]),
    ]
    tensors = {"w": np.full((4, 3), 0.1, np.float32), "b": np.zeros(3, np.float32), "one": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "free",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, axes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(v, k) for k, v in tensors.items()],
    )
    path = folder / "free.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_free_axes_are_fixed(tmp_path: Path) -> None:
    path = free(folder=tmp_path)
    assert load(path, dims={"T": 16}).shape == (16, 4)
    assert load(path, shape=(7, 4)).shape == (7, 4)
    assert "free axes were fixed: T=16" in load(path, dims={"T": 16}).notes


@pytest.mark.parametrize(
    ("axes", "arguments", "message"),
    [
        (("batch", "T", 4), {}, "axis 1 'T' is free: fix it with --dim T=SIZE"),
        (("batch", None, 4), {}, "axis 1 is free: give the sizes of a sample with --shape"),
        (("batch", "T", 4), {"dims": {"S": 3}}, "--dim S: .* has no free axis of that name; free are: T"),
        (("batch", "T", 4), {"dims": {"batch": 3}}, "--dim batch: that is the batch axis"),
        (("batch", "T", 4), {"shape": (16, 5)}, "--shape 16x5: samples of .* are Tx4"),
    ],
)
def test_axes_that_are_left_are_refused(
    axes: tuple[Any, ...], arguments: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=message):
        load(free(axes=axes, folder=tmp_path), **arguments)


def test_axes_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = free(folder=tmp_path)
    for flags, code, words in (
        (["--dim", "T=16"], 0, "16"),
        (["--dim", "T=16", "--dim", "T=8"], 2, "T was 16 before"),
        (["--dim", "T"], 2, "expected a name and a size"),
        ([], 2, "--dim T=SIZE"),
    ):
        monkeypatch.setattr("sys.argv", ["edge-export", str(path), "-o", str(tmp_path / "bundle"), *flags])
        assert main() == code
        captured = capsys.readouterr()
        assert words in (captured.err if code else captured.out)


@pytest.mark.parametrize("narrow", [False, True])
def test_token_numbers_are_trained_on(narrow: bool, tmp_path: Path) -> None:
    model = load(embedding_classifier(tmp_path, TensorProto.INT32 if narrow else TensorProto.INT64))
    bundle = export(model, tmp_path / "bundle", objective="cross_entropy + 1.0*squared_error(reference)")
    assert bundle.manifest.tokens
    assert bundle.manifest.vocabulary == {"x": TOKENS}
    engine = create(bundle)
    batch = random_batch(bundle, 6, 4)
    losses = [engine.step(batch, learning_rate=0.5)["loss"] for _ in range(30)]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(engine.predict(batch["x"]).sum(axis=1), 1, rtol=1e-5)
    for wrong in (TOKENS, -1):
        odd = {**batch, "x": np.full_like(batch["x"], wrong)}
        with pytest.raises(EngineError, match=f"'x': token numbers must be 0 to {TOKENS - 1}"):
            engine.step(odd)
        with pytest.raises(EngineError, match="token numbers"):
            engine.predict(odd["x"])


def test_tokens_have_no_scale_and_no_tflite(tmp_path: Path) -> None:
    model = load(embedding_classifier(tmp_path))
    with pytest.raises(ExportError, match="--tflite: the file takes one float32 array"):
        export(model, tmp_path / "bundle", rows=(4,))


def test_a_trainer_takes_several_inputs_by_name(tmp_path: Path) -> None:
    bundle = export(load(two_inputs(tmp_path)), tmp_path / "bundle")
    trainer, batch = Trainer(bundle, learning_rate=0.1), random_batch(bundle, 6)
    losses = [trainer.step(batch)["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]
    with pytest.raises(EngineError, match="a prediction has one array, and the model takes ids, mask"):
        trainer.predict(batch["x"])


def test_several_inputs_have_names(tmp_path: Path) -> None:
    manifest = assemble(load(two_inputs(tmp_path)), objective="cross_entropy + 1.0*squared_error(reference)").manifest
    assert manifest["input_names"] == ["ids", "mask"]
    assert [(i["name"], tuple(i["shape"])) for i in manifest["inputs"]] == [
        ("x", ("N", 5)),
        ("reference_x", ("R", 5)),
        ("x/mask", ("N", 5)),
        ("reference_x/mask", ("R", 5)),
        ("labels", ("N",)),
        ("reference_target", ("R", 3)),
    ]
