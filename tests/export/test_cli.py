"""edge-export as a person uses it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from export import cli
from tests.export.test_model import classifier, saved


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-export", *map(str, arguments)])
    return cli.main()


def test_export_and_inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    assert call(monkeypatch, "zoo:small-cnn", "-o", bundle, "--optimizer", "momentum") == 0
    said = capsys.readouterr().out
    assert "conv1.weight" in said
    assert "20,490" in said
    assert call(monkeypatch, "inspect", bundle, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["scalars"] == 20_490
    assert facts["optimizer"] == "momentum"
    assert facts["operators"]["Conv"] >= 3


def test_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(classifier(opset=15), tmp_path)
    terms = "cross_entropy + 0.5*squared_error(reference)"
    assert call(monkeypatch, path, "-o", tmp_path / "b", "--objective", terms, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["objective"] == ["cross_entropy", "squared_error(reference)"]
    assert facts["hyper"]["weight/squared_error(reference)"] == 0.5
    assert facts["notes"] == ["operator set 15 was converted to 18"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.onnx"], "no ONNX file at none.onnx"),
        (["zoo:vgg"], "unknown zoo 'vgg'; there are: ds-cnn"),
        (["zoo:mlp:0"], "positive numbers"),
        (["zoo:mlp", "--shape", "28by28"], "expected sizes as in 1x28x28"),
        (["zoo:mlp", "--classes", "1"], "2 or more"),
        (["zoo:lenet", "--shape", "1x2x2"], "images"),
        (["zoo:mlp", "--objective", "hinge"], "objective term 'hinge'"),
        (
            ["zoo:mlp", "--optimizer", "lion"],
            "unknown optimizer 'lion'; there are: adam, adamw, amsgrad, momentum, nesterov, rmsprop, sgd",
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments, "-o", tmp_path / "b") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("edge-export: error: ")
    assert said.err.count("\n") == 1
    assert complaint in said.err
    assert list(tmp_path.iterdir()) == []


def test_inspect_of_an_altered_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "zoo:mlp:4", "-o", tmp_path / "b") == 0
    with (tmp_path / "b" / "train.onnx").open("ab") as file:
        file.write(b"\0")
    capsys.readouterr()
    assert call(monkeypatch, "inspect", tmp_path / "b") == 2
    assert "is not the file that was exported" in capsys.readouterr().err


def test_the_installed_command(tmp_path: Path) -> None:
    command = Path(sys.executable).parent / "edge-export"
    done = subprocess.run([command, "none.onnx", "-o", "b"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "edge-export: error: no ONNX file at none.onnx\n"
