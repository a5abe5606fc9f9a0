"""edge-export as a person uses it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge import bundle as bundles
from export import cli
from tests.export.test_load import classifier, saved


def call(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-export", *map(str, arguments)])
    return cli.main()


def test_export_and_inspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    assert call(monkeypatch, "zoo:small-cnn", "-o", bundle, "--optimizer", "momentum") == 0
    output = capsys.readouterr().out
    assert "conv1.weight" in output
    assert "20,490" in output
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
        (["zoo:mlp", "--recompute", "0"], "expected 1 (keep all) to 64 segments"),
        (["zoo:mlp", "--edge", "zoo:mlp"], "it needs --split-at"),
        (["zoo:mlp", "--split-at", "nowhere"], "--split-at nowhere: the model has no such value or node"),
        (["zoo:mlp", "--embedding", "nowhere"], "--embedding nowhere"),
        (["zoo:mlp", "--heads", "-1"], "expected 0 to 64 auxiliary heads"),
        (["zoo:mlp", "--batch-norm", "thaw"], "expected one of as-is, train, frozen"),
        (["zoo:mlp", "--train", "lora:0"], "a rank of 1 or more"),
        (["zoo:mlp", "--clip-norm", "0"], "clip_norm must be a positive number, not 0"),
        (["zoo:mlp", "--ort-training"], "needs onnxruntime-training-cpu in place of onnxruntime"),
        (["zoo:resnet8", "--shape", "9x128"], "need images"),
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
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.startswith("edge-export: error: ")
    assert streams.err.count("\n") == 1
    assert complaint in streams.err
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


def test_a_split_is_two_bundles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    terms = "cross_entropy + kullback_leibler"
    arguments = ["--shape", "3x8x8", "--split-at", "stem", "--edge", "zoo:gkt-edge", "--objective", terms, "--json"]
    assert call(monkeypatch, "zoo:resnet8", "-o", tmp_path / "b", *arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["edge"]["embedding"] == facts["server"]["shape"] == [16, 8, 8]
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == ["edge", "server"]


def test_a_protocol_stands_for_its_objective(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "zoo:mlp:4", "-o", tmp_path / "b", "--objective", "d-distillation", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["objective"] == ["cross_entropy", "soft_cross_entropy(reference)"]
    assert 2 * facts["distillation_macs"] == sum(facts["macs"].values()) > 0  # as many rows of either batch


def test_freezing_says_what_it_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["zoo:mlp:100", "-o", tmp_path / "b", "--train", "last:1", "--optimizer", "adam"]
    assert call(monkeypatch, *arguments) == 0
    assert "saved by freezing" in capsys.readouterr().out
    assert call(monkeypatch, *arguments, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["distillation_macs"] == 0
    assert facts["if_all_were_trained"]["macs"]["weight gradient"] > facts["macs"]["weight gradient"]
    assert facts["if_all_were_trained"]["state_bytes"] > facts["state_bytes"] > 0


def test_a_plot_of_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "zoo:small-cnn", "-o", tmp_path / "b") == 0
    capsys.readouterr()
    assert call(monkeypatch, "inspect", tmp_path / "b", "--plot", "--batch", "4") == 0
    output = capsys.readouterr().out
    assert "conv2.weight" in output
    assert "█" in output
    assert call(monkeypatch, "inspect", tmp_path / "b", "--batch", "0") == 2


def test_class_counts_that_do_not_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(classifier(), tmp_path)
    assert call(monkeypatch, path, "-o", tmp_path / "b", "--classes", "7") == 2
    assert "gives 3 logits, and --classes says 7" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def tied(folder: Path) -> Path:
    """Two layers of which an exporter merged the weights, in half precision."""
    weights = {"w": np.eye(3), "b": np.zeros(3)}
    half = TensorProto.FLOAT16
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
            helper.make_node("Tanh", ["h"], ["t"]),
            helper.make_node("Gemm", ["t", "w", "b"], ["y"]),
        ],
        "tied",
        [helper.make_tensor_value_info("x", half, ["batch", 3])],
        [helper.make_tensor_value_info("y", half, ["batch", 3])],
        [numpy_helper.from_array(v.astype(np.float16), k) for k, v in weights.items()],
    )
    path = folder / "tied.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def test_notes_stand_in_the_manifest_and_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, tied(tmp_path), "-o", tmp_path / "b") == 0
    written = capsys.readouterr().out
    assert call(monkeypatch, "inspect", tmp_path / "b") == 0
    inspected = capsys.readouterr().out
    assert call(monkeypatch, "inspect", tmp_path / "b", "--json") == 0
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert [note.partition(",")[0] for note in notes] == ["its float16 numbers became float32", "read by several nodes"]
    for output in (written, inspected):
        assert "note: its float16 numbers became float32" in output
        assert "note: read by several nodes" in output
    assert list(bundles.read(tmp_path / "b").manifest.notes) == notes


def test_ties_are_kept_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, names = tied(tmp_path), []
    for arguments in ([], ["--keep-ties"]):
        assert call(monkeypatch, path, "-o", tmp_path / "b", "--json", *arguments) == 0
        names.append([p["name"] for p in json.loads(capsys.readouterr().out)["parameters"]])
    assert names == [["w", "b", "w#2", "b#2"], ["w", "b"]]
    assert call(monkeypatch, "zoo:mlp", "-o", tmp_path / "c", "--keep-ties") == 2
    assert "--keep-ties is for ONNX files" in capsys.readouterr().err


TRAINED = [
    (["--freeze", "hidden1.*"], ["output.weight", "output.bias"]),
    (["--train", "last:1"], ["output.weight", "output.bias"]),
    (["--train", "output.weight"], ["output.weight"]),
    (["--train", "all,!*.bias"], ["hidden1.weight", "output.weight"]),
    (["--train", "bias-only", "--freeze", "output.bias"], ["hidden1.bias"]),
]


@pytest.mark.parametrize(("arguments", "expected"), TRAINED)
def test_what_is_trained(
    arguments: list[str],
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "zoo:mlp:4", "-o", tmp_path / "b", "--json", *arguments) == 0
    parameters = json.loads(capsys.readouterr().out)["parameters"]
    assert [p["name"] for p in parameters if p["trainable"]] == expected


FROZEN_WRONGLY = [
    (["--freeze", "nothing.*"], "matches no parameter"),
    (["--freeze", "*"], "leaves no parameter to train"),
    (["--train", "lora:2", "--freeze", "output.*"], "freezes everything already; leave out --freeze"),
    (["--batch-norm", "train"], "has no batch normalization"),
]


@pytest.mark.parametrize(("arguments", "complaint"), FROZEN_WRONGLY)
def test_what_cannot_be_trained(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call(monkeypatch, "zoo:mlp:4", "-o", tmp_path / "b", *arguments) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
