"""edge-bench step, memory, bytes and time: their arithmetic, and what they plan against what they measure."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import onnx
import pytest

from edge import plugins
from edge.codec import payload_size
from edge.config import Coding
from edge.errors import ConfigError
from edge_bench import cli
from edge_bench.measurements import bytes as traffic
from edge_bench.measurements import memory, step
from edge_bench.models import SHAPES
from edge_sim.scenario import Scenario
from export import zoo
from export.report.cost import cost
from export.write import export
from tests.refusals import refusal

P = 784 * 200 + 200 + 200 * 10 + 10
"""of mlp:200"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Calls a command; what it wrote as JSON."""

    def call(*words: str) -> Any:
        out = tmp_path / "out.json"
        monkeypatch.setattr(sys, "argv", ["edge-bench", *words, "--json", str(out)])
        assert cli.main() == 0
        return json.loads(out.read_text())

    return call


def test_steps_side_by_side(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    finding = written("step", "--models", "mlp:200,gru", "--batches", "2", "--seconds", "0.05", "--peak")
    jobs = {(line["model"], line["name"]): line for line in finding["lines"]}
    assert {("mlp:200", "onnx-runtime"), ("mlp:200", "tflite"), ("mlp:200", "product"), ("gru", "onnx-runtime")} <= set(
        jobs
    )
    assert "GRU" in finding["left_out"]["tflite"]
    macs = 2 * (3 * (784 * 200 + 200 * 10) - 784 * 200)
    for line in (jobs["mlp:200", "onnx-runtime"], jobs["mlp:200", "tflite"]):
        taken = sorted(line["step_seconds"])
        middle = (taken[(len(taken) - 1) // 2] + taken[len(taken) // 2]) / 2
        assert line["macs_per_second"] == pytest.approx(macs / middle)
    assert "of peak" in capsys.readouterr().out


@pytest.mark.oracle
def test_pytorch_takes_part(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    lines = step.measure(["mlp:200"], [2], seconds=0.05, names=("onnx-runtime", step.TORCH)).lines
    assert [line.name for line in lines] == ["onnx-runtime", "pytorch"]


@pytest.mark.oracle
def test_against_several(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    against = ("--against", "torch,torch-channels-last")
    finding = written("step", "--models", "ds-cnn", "--batches", "2", "--seconds", "0.1", *against)
    assert {"onnx-runtime", "pytorch", "pytorch-channels-last"} <= {line["name"] for line in finding["lines"]}
    shown = capsys.readouterr().out
    assert "ours/torch" in shown
    assert "geometric mean" in shown
    with pytest.raises(ConfigError, match="unknown opponent 'jax'; there are: torch, torch-channels-last"):
        step.contenders(["torch", "jax"])


def test_memory_is_planned_by_closed_forms(tmp_path: Path) -> None:
    bundle = export(zoo.build("mlp:200", shape=SHAPES["mlp:200"], classes=10), tmp_path / "bundle")
    plan = memory.planned(bundle, 8, 300, 3)
    spent = cost(onnx.load(bundle.path / "train.onnx"), {"N": 8})
    assert plan == {
        "parameters": 2 * 4 * P,
        "batch": 8 * (4 * 784 + 8) + 2 * 4,  # samples, labels, two scalars
        "training": spent.activations,
        "outputs": cost(onnx.load(bundle.path / "predict.onnx"), {"N": 64}).activations - spent.activations,
        "messages": 2 * 4 * 300 * 10 * (1 + 3),
    }


def test_memory_part_by_part(written: Any) -> None:
    """64 rows of the small CNN need 17 MB of activations by plan, and not much more in fact."""
    finding = written("memory", "--batch", "64", "--processes", "1")
    parts = {part["name"]: part for part in finding["parts"]}
    assert list(parts)[5:] == ["session", "parameters", "batch", "training", "outputs", "messages"]
    assert all(part["peak"][0] >= part["held"][0] for part in finding["parts"])
    training = parts["training"]
    assert 0.8 < training["peak"][0] / training["planned"] < 2
    assert 0.7 < finding["predicted"][0] / finding["peak"][0] < 1.2
    assert finding["private"][0] < finding["peak"][0]
    counted = [p["held"][0] if p["planned"] is None else p["planned"] for p in finding["parts"]]
    assert finding["predicted"] == [sum(counted)]


def test_a_bundle_of_ones_own(written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What edge-export wrote, for another task than D-Distillation."""
    bundle = export(zoo.build("mlp:16", shape=(5,), classes=3), tmp_path / "mine", objective="cross_entropy(private)")
    finding = written("memory", "--model", str(bundle.path), "--batch", "8", "--processes", "1")
    assert finding["model"] == str(bundle.path)
    words = ["--batch", "4", "--reference", "9", "--seconds", "0.02", "--processes", "1"]
    finding = written("time", "--model", str(bundle.path), *words)
    assert finding["message_bytes"] == payload_size(9, 3, "simplex:8")
    assert [line["name"] for line in finding["lines"]][-1] == "delivery"
    assert "objective" in finding["left_out"]["round"]
    assert "Left out: round" in capsys.readouterr().out


def test_bytes_are_what_the_kernel_counts() -> None:
    """To the byte: messages by docs/wire.md, MQTT by its specification, and TCP by the kernel."""
    rounds, rows = 3, 40
    scenario = Scenario(
        devices=3,
        topology="ring",
        rounds=rounds,
        model="zoo:mlp:8",
        reference=str(rows),
        coding=Coding(soft_labels="simplex:8"),
    )
    counted = traffic.measure(scenario, tls=True)
    closed = payload_size(rows, 10 + 1, "simplex:8")  # a weighted opinion has one more entry: how far it abstains
    assert len(counted.edges) == 6
    for edge in counted.edges:
        assert edge.kind == "soft-labels"
        assert edge.by_round == [closed] * rounds
        assert (edge.messages, edge.payload) == (rounds, rounds * closed)
    plain, secure = counted.runs
    assert [line.device for line in plain.devices] == ["device-0", "device-1", "device-2"]
    for line in plain.devices:
        assert line.sent["payload"] == line.received["payload"] == 2 * rounds * closed
        assert line.sent["tcp"] == line.sent["publish"] + line.sent["acknowledge"] + line.sent["connect"]
        # CONNACK and SUBACK are the broker's, with properties of its choice.
        assert 5 <= line.received["tcp"] - line.received["publish"] - line.received["acknowledge"] <= 64
        assert line.sent["ip"] == line.sent["tcp"] + 52 * line.sent["segments"]
    for line, other in zip(plain.devices, secure.devices, strict=True):
        assert other.sent["publish"] == line.sent["publish"]
        assert 1000 < other.sent["tcp"] - line.sent["tcp"] < 4000  # the handshake, and 22 bytes a record


def test_a_coding_of_changes_and_weights_in_chunks() -> None:
    counted = traffic.measure(
        Scenario(devices=2, topology="complete", protocol="fedavg", rounds=2, model="zoo:mlp:2000"), tls=False
    )
    weights = [edge for edge in counted.edges if edge.kind == "weights"]
    size = 4 * (64 * 2000 + 2000 + 2000 * 10 + 10)
    assert {edge.by_round[0] for edge in weights} == {size + 2 * 40}
    assert {edge.messages for edge in weights} == {2 * 2}  # two payloads each
    assert all(
        line.sent["tcp"] == sum(line.sent[k] for k in ("publish", "acknowledge", "connect"))
        for line in counted.runs[0].devices
    )


def test_bytes_for_people(written: Any, capsys: pytest.CaptureFixture[str]) -> None:
    finding = written("bytes", "--devices", "2", "--topology", "complete", "--rounds", "2", "--reference", "20")
    assert finding["runs"][0]["tls"] is False
    out = capsys.readouterr().out
    assert "device-0 to device-1" in out
    assert "ratio" in out


def test_times(written: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A meter that always reads 5 W."""
    now, log = time.time(), tmp_path / "watts.csv"
    log.write_text(f"{now - 3600},5\n{now + 3600},5\n")
    words = ["time", "--model", "mlp:200", "--batch", "4", "--reference", "20", "--seconds", "0.05", "--processes", "1"]
    finding = written(*words, "--power", str(log))
    lines = {line["name"]: line for line in finding["lines"]}
    assert list(lines) == ["cold start", "step", "predict", "encode", "decode", "delivery", "round"]
    assert all(min(line["seconds"]) > 0 for line in finding["lines"])
    assert finding["message_bytes"] == payload_size(20, 10, "simplex:8")
    assert finding["idle_watts"] == pytest.approx(5)
    assert lines["step"]["joules"] > 0
    assert "power meter (watts.csv); idle 5.0 W" in capsys.readouterr().out.replace("\n", " ")


BAD = [
    (["step", "--models", "alexnet"], "unknown model 'alexnet'; there are: mlp:200, small-cnn"),
    (["step", "--batches", "0"], "--batches 0: expected different numbers from 1"),
    (["step", "--seconds", "0"], "--seconds 0.0: expected more than 0"),
    (["memory", "--model", "alexnet"], "--model alexnet: expected the folder of a bundle, or one of: mlp:200"),
    (["memory", "--model", "."], ". is not a bundle"),
    (["memory", "--engine", "caffe"], "unknown engine 'caffe'"),
    (["memory", "--neighbours", "0"], "--neighbours 0: expected 1 or more"),
    (["bytes", "--protocol", "gossip"], "unknown protocol 'gossip'"),
    (["bytes", "--devices", "1"], "devices: Input should be greater than or equal to 2"),
    (["time", "--model", "alexnet"], "--model alexnet: expected the folder of a bundle"),
    (["time", "--coding", "morse"], "unknown coding 'morse'"),
    (["time", "--power", "none.csv"], "--power none.csv: No such file or directory; expected lines of seconds,watts"),
]


@pytest.mark.parametrize(("words", "complaint"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input_is_one_line(
    words: list[str], complaint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert complaint in refusal(cli.main, "edge-bench", words, monkeypatch, capsys)


def test_every_model_is_in_the_zoo() -> None:
    assert {spec.partition(":")[0] for spec in SHAPES} <= set(plugins.names("export.zoo"))
