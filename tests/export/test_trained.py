"""Trained models out of a bundle and a checkpoint."""

from pathlib import Path

import numpy as np
import onnxruntime  # noqa: TID251 - as another program would load the file
import pytest
from safetensors.numpy import save_file

from edge import Trainer
from edge.interfaces import Array
from export import cli, zoo
from export.write import export


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle, a trainer's checkpoint, samples, and what the trained model says of them."""
    path = tmp_path_factory.mktemp("trained")
    random = np.random.default_rng(0)
    x, y = random.random((64, 1, 8, 8), np.float32), random.integers(0, 4, 64)
    trainer = Trainer(export(zoo.build("small-cnn", shape=(1, 8, 8), classes=4), path / "bundle"), learning_rate=0.3)
    trainer.fit(x, y, epochs=2, validation=0.25, checkpoint=path / "state")
    np.savez(path / "x.npz", x=x)
    np.savez(path / "expected.npz", p=trainer.predict(x))
    save_file(trainer.parameters(), path / "parameters.safetensors")
    return path


def run(folder: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["edge-export", "trained", *arguments])
    return cli.main()


def loaded(folder: Path) -> tuple[Array, Array]:
    return np.load(folder / "x.npz")["x"], np.load(folder / "expected.npz")["p"]


@pytest.mark.parametrize("state", ["state", "parameters.safetensors"])
def test_onnx_is_equal_to_the_trainers_own_predictions(
    folder: Path, state: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "bundle", state, "-o", "out.onnx", monkeypatch=monkeypatch) == 0
    assert "wrote out.onnx: onnx, " in capsys.readouterr().out
    x, expected = loaded(folder)
    session = onnxruntime.InferenceSession(folder / "out.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(["probabilities"], {"x": x})[0] - expected).max() < 1e-6


def test_int8_is_smaller_and_mostly_agrees(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, more in {"float.onnx": [], "int8.onnx": ["--int8", "npz:x.npz"]}.items():
        assert run(folder, "bundle", "state", "-o", name, *more, monkeypatch=monkeypatch) == 0
    assert (folder / "int8.onnx").stat().st_size < 0.6 * (folder / "float.onnx").stat().st_size
    x, expected = loaded(folder)
    session = onnxruntime.InferenceSession(folder / "int8.onnx", providers=["CPUExecutionProvider"])
    assert np.abs(session.run(["probabilities"], {"x": x})[0] - expected).mean() < 0.05


def test_tflite_is_equal(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    assert run(folder, "bundle", "state", "-o", "out.tflite", "--rows", "8", monkeypatch=monkeypatch) == 0
    x, expected = loaded(folder)
    signature = litert.Interpreter(str(folder / "out.tflite")).get_signature_runner("predict")
    assert np.abs(signature(x=x[:8])["probabilities"] - expected[:8]).max() < 1e-5


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["bundle", "state", "-o", "out.pt"], "expected a name that ends in .onnx or .tflite"),
        (["bundle", "nothing", "-o", "out.onnx"], "nothing is neither a folder of checkpoints nor"),
        (["bundle", "bundle", "-o", "out.onnx"], "bundle has no checkpoint that can be read"),
        (["bundle", "state", "-o", "out.tflite", "--int8", "npz:x.npz"], "choose a name that ends in .onnx"),
        (["bundle", "state", "-o", "out.onnx", "--int8", "x.npz"], "expected a reference set, as in npz:reference.npz"),
        (["bundle", "state", "-o", "missing/out.onnx"], "cannot write missing/out.onnx: No such file"),
        (["bundle", "other.safetensors", "-o", "out.onnx"], "is of another model than bundle"),
        (["bundle", "state", "-o", "out.tflite", "--rows", "0"], "expected 1 or more rows"),
    ],
)
def test_what_cannot_be_is_one_line(
    arguments: list[str], reason: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, folder / "other.safetensors")
    before = {*folder.iterdir()}
    assert run(folder, *arguments, monkeypatch=monkeypatch) == 2
    assert reason in capsys.readouterr().err
    assert {*folder.iterdir()} == before
