"""edge-sim: the same figures twice, and the same over memory and a real broker."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.codec import HEADER
from edge.errors import ConfigError
from edge_sim import cli
from edge_sim.run import run
from edge_sim.scenario import Scenario
from export import zoo
from export.write import export
from tests.conformance.test_transport import broker_or_skip

SMALL: dict[str, Any] = {
    "devices": 4,
    "split": "classes:5",
    "model": "zoo:mlp:16",
    "rounds": 6,
    "compare": ("isolated", "d-psgd"),
}
NAMES = {"scenario", "devices", "mean_accuracy", "worst_accuracy", "payload_bytes_total", "rounds", "seconds"}
DEVICE_NAMES = {
    "id", "accuracy_all", "accuracy_own", "accuracy_by_head", "samples", "payload_bytes_sent", "payload_bytes_received",
    "wire_bytes_sent", "messages_sent", "round", "loss", "outcome",
}  # fmt: skip


def timeless(value: Any) -> Any:
    """A result without its times."""
    if isinstance(value, dict):
        return {k: timeless(v) for k, v in value.items() if k != "seconds"}
    return [timeless(v) for v in value] if isinstance(value, list) else value


def result(**changes: Any) -> dict[str, Any]:
    return run(Scenario(**{**SMALL, **changes})).model_dump(mode="json")


def test_memory_is_deterministic_and_seeded() -> None:
    first = result()
    assert json.dumps(timeless(first)) == json.dumps(timeless(result()))
    assert timeless(first) != timeless(result(seed=1))
    assert first.keys() >= NAMES
    assert set(first["devices"][0]) == DEVICE_NAMES


@pytest.mark.parametrize(
    "changes",
    [
        {"compare": ("d-psgd", "fedavg", "multi-headed-distillation")},
        {"uplink": 100.0, "downlink": 100.0, "compare": ("fedavg",)},
        {"protocol": "dynamic-averaging", "compare": (), "settings": {"dynamic-averaging": {"threshold": 0.02}}},
    ],
    ids=lambda changes: ",".join(changes),
)
def test_workers_change_nothing(changes: dict[str, Any]) -> None:
    """To the last bit, whoever is first, over narrow links too."""
    alone, many = (result(**changes, workers=n) for n in (1, 4))
    for one in (alone, many):
        one.pop("scenario")
    assert json.dumps(timeless(alone)) == json.dumps(timeless(many))


def test_a_broker_changes_nothing() -> None:
    broker_or_skip("mosquitto")
    over_memory, over_mqtt = result(), result(transport="mqtt")
    for one in (over_memory, over_mqtt):
        one.pop("scenario")
    assert timeless(over_memory) == timeless(over_mqtt)


@pytest.mark.parametrize(("coding", "scalar"), [("float32", 4), ("float16", 2), ("simplex:8", 1)])
@pytest.mark.parametrize(("topology", "edges"), [("ring", 8), ("complete", 12), ("star", 6)])
def test_bytes_are_the_closed_form(coding: str, scalar: int, topology: str, edges: int) -> None:
    """|E| directed edges x (header + R (C + 1) b) bytes a round; independent of the model."""
    outcome = result(coding={"soft_labels": coding}, topology=topology, compare=(), rounds=3)
    assert outcome["payload_bytes_total"] == 3 * edges * (HEADER + 300 * 11 * scalar)
    assert sum(d["messages_sent"] for d in outcome["devices"]) == 3 * edges
    assert sum(d["payload_bytes_received"] for d in outcome["devices"]) == outcome["payload_bytes_total"]


@pytest.mark.parametrize(("coding", "scalar"), [("float32", 4), ("float16", 2)])
def test_bytes_of_weights_are_the_closed_form(coding: str, scalar: int) -> None:
    outcome = result(protocol="d-psgd", coding={"weights": coding}, compare=(), rounds=2)
    assert outcome["parameters"] == 64 * 16 + 16 + 16 * 10 + 10
    assert outcome["payload_bytes_total"] == 2 * 8 * (HEADER + scalar * outcome["parameters"])


def test_soft_labels_are_much_smaller_than_fifty_thousand_weights() -> None:
    changes = {"model": "zoo:mlp:256-128", "rounds": 1, "compare": ()}
    weights = result(protocol="d-psgd", **changes)
    assert weights["parameters"] == 50_826
    for coding, factor in (("float32", 15), ("simplex:8", 50)):
        labels = result(coding={"soft_labels": coding}, **changes)
        assert weights["payload_bytes_total"] >= factor * labels["payload_bytes_total"]


def test_it_learns_what_it_has_never_seen() -> None:
    """With default settings and a smaller model than the demonstration's; the full figures are in docs/results.md."""
    outcome = run(
        Scenario(
            split="classes:4",
            model="zoo:mlp:32",
            rounds=40,
            compare=("isolated",),
            evaluate_every=40,
        )
    )
    by_name = {s.protocol: s for s in outcome.comparison}
    assert by_name["isolated"].mean_accuracy < 0.45
    assert by_name["d-distillation"].mean_accuracy > 0.85
    assert by_name["d-distillation"].mean_accuracy_own > 0.9


def test_a_model_file_and_a_bundle(tmp_path: Path) -> None:
    import onnx

    from edge import algorithm

    model = zoo.build("mlp:16", shape=(64,), classes=10)
    objective = " + ".join(algorithm.load("d-distillation", {}, "settings").objective)
    bundle = export(model, tmp_path / "bundle", objective=objective)
    graph = onnx.helper.make_graph(
        list(model.nodes),
        "flat",
        [onnx.helper.make_tensor_value_info(model.input, onnx.TensorProto.FLOAT, ["N", 64])],
        [onnx.helper.make_tensor_value_info(model.output, onnx.TensorProto.FLOAT, ["N", 10])],
        [onnx.numpy_helper.from_array(v, k) for k, v in model.parameters.items()],
    )
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(proto, tmp_path / "model.onnx")
    by_file = result(
        model=str(tmp_path / "model.onnx"), compare=(), standardize="never", optimizer="sgd"
    )  # 8 x 8 images, flattened to fit
    by_bundle = result(model=str(bundle.path), compare=())
    assert by_file["devices"] == by_bundle["devices"]


def test_a_graph_and_data_from_files(tmp_path: Path) -> None:
    (tmp_path / "line.txt").write_text("device-0 device-1\ndevice-1 device-2\n")
    random = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (2 * np.eye(3, 5)[y] + random.normal(0, 0.3, (300, 5))).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=y, room=y)
    outcome = result(
        devices=3,
        topology=str(tmp_path / "line.txt"),
        data=f"npz:{tmp_path / 'd.npz'}",
        split="by:room",
        reference="60",
        compare=(),
        rounds=60,
        settings={"d-distillation": {"learning_rate": 0.1, "distillation_weight": 10.0}},
    )
    assert [d["accuracy_own"] for d in outcome["devices"]] == pytest.approx([1, 1, 1], abs=0.1)
    assert outcome["mean_accuracy"] > 0.8  # each has seen one class of three


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-sim", *arguments])
    return cli.main()


TINY = ["--devices", "3", "--rounds", "2", "--model", "zoo:mlp:4"]


def test_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    assert call(monkeypatch, *TINY, "--compare", "isolated", "--set", "distillation_weight=2", "--json", str(out)) == 0
    output = capsys.readouterr().out
    assert "d-distillation" in output
    assert "isolated" in output
    outcome = json.loads(out.read_text())
    assert outcome["scenario"]["settings"] == {"d-distillation": {"distillation_weight": 2}}
    assert [s["protocol"] for s in outcome["comparison"]] == ["d-distillation", "isolated"]
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]
    assert call(monkeypatch, *TINY, "--json", "-") == 0
    assert json.loads(capsys.readouterr().out)["protocol"] == "d-distillation"


def test_flags_go_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "s.toml", tmp_path / "o.json"
    path.write_text(
        'devices = 5\nrounds = 9\nmodel = "zoo:mlp:4"\n[settings.d-psgd]\nlocal_steps = 2\nbatch_size = 8\n'
    )
    arguments = ["--rounds", "1", "--protocol", "d-psgd", "--set", "local_steps=1", "--json", str(out)]
    assert call(monkeypatch, str(path), *arguments) == 0
    scenario = json.loads(out.read_text())["scenario"]
    assert (scenario["devices"], scenario["rounds"]) == (5, 1)
    assert scenario["settings"]["d-psgd"] == {"local_steps": 1, "batch_size": 8}


BAD = [
    (["--devices", "1"], "devices: Input should be greater than or equal to 2 (got 1)"),
    (["--rounds", "0", "--seed", "-1"], "rounds: Input should be greater than or equal to 1 (got 0); seed: "),
    (["--workers", "2", "--engine", "tflite"], "workers: tflite computes for one device at a time; leave it at 1"),
    (["--transport", "pigeon"], "transport: Input should be 'memory' or 'mqtt' (got 'pigeon')"),
    (["--protocol", "gossip"], "unknown protocol 'gossip'; there are: "),
    (["--coding", "integer8"], "coding.soft_labels: integer8 is for codes, labels"),
    (["--weight-coding", "simplex:8"], "coding.weights: simplex:8 is for soft-labels"),
    (["--protocol", "d-psgd", "--model", "zoo:mlp:4", "--model", "zoo:mlp:8"], "d-psgd exchanges weights, so that"),
    (["--compare", "sgd"], "unknown protocol 'sgd'"),
    (["--set", "rho=1"], "settings.d-distillation.rho: no such setting; there are: "),
    (["--set", "distillation_weight=x"], "settings.d-distillation: distillation_weight: "),
    (["--set", "pull"], "expected KEY=VALUE"),
    (["--set", "local_steps=0"], "local_steps and batch_size must be at least 1"),
    (["--topology", "moebius"], "topology 'moebius' is neither a file nor one of: ring"),
    (["--topology", "torus", "--devices", "7"], "7 devices make no torus"),
    (["--data", "npz:none.npz"], "npz:none.npz cannot be read"),
    (["--data", "mnist"], "there are: cartpole, csv, diabetes, digit-attributes, digits, idx"),
    (["--split", "classes:99"], "only 10 classes"),
    (["--reference", "5000"], "a number of rows from 1 to 1346"),
    (["--model", "zoo:vgg"], "unknown zoo 'vgg'; there are: ds-cnn"),
    (["--model", "none.onnx"], "no ONNX file at none.onnx"),
    (["--model", "something"], "neither zoo:NAME, nor a bundle's folder, nor a .onnx file"),
    (["--coding", "zip"], "unknown coding 'zip'; there are: cuberoot:4, cuberoot:5, "),
    (["--broker", "mqtt://127.0.0.1:1"], "transport is 'memory'"),
    (["--transport", "mqtt", "--broker", "http://x"], "must be mqtt://HOST[:PORT]"),
    (["--transport", "mqtt", "--broker", "mqtt://127.0.0.1:1"], "no MQTT broker answers at mqtt://127.0.0.1:1"),
    (["--optimizer", "lion"], "unknown optimizer 'lion'; there are: adam, adamw, amsgrad, momentum, "),
    (["none.toml"], "cannot read none.toml"),
    (["--json", "no/such/folder/o.json"], "there is no folder no/such/folder"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "complaint"), BAD, ids=lambda v: " ".join(v) if isinstance(v, list) else "")
def test_bad_input_is_one_line(
    arguments: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    base = [a for a in TINY if arguments[0] not in ("--rounds", "--devices", "--model")] if arguments else TINY
    assert call(monkeypatch, *base, *arguments) == 2
    output = capsys.readouterr()
    assert output.err.startswith("edge-sim: error: ")
    assert output.err.count("\n") == 1
    assert complaint in output.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("devices = ", "is not valid TOML"),
        ("device = 3", "device: no such key"),
        ("[settings.gossip]\nx = 1", "settings.gossip: no such protocol"),
        ("[coding]\nsoft_label = 'float32'", "coding.soft_label: no such key"),
        ("devices = 'many'", "devices: Input should be a valid integer"),
    ],
)
def test_bad_scenario_files(
    text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s.toml"
    path.write_text(text)
    assert call(monkeypatch, str(path)) == 2
    output = capsys.readouterr().err
    assert complaint in output
    assert output.count("\n") == 1


def test_a_bundle_for_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = export(zoo.build("mlp:4", shape=(1, 8, 8), classes=10), tmp_path / "plain").path
    assert call(monkeypatch, *TINY[:4], "--model", str(bundle)) == 2
    assert (
        "d-distillation needs the objective 'cross_entropy + soft_cross_entropy(reference)'" in capsys.readouterr().err
    )
    other = export(zoo.build("mlp:4", shape=(1, 8, 8), classes=7), tmp_path / "seven").path
    assert call(monkeypatch, *TINY[:4], "--model", str(other), "--protocol", "isolated") == 2
    assert "the model gives 7 classes, the data has 10" in capsys.readouterr().err
    shape = export(zoo.build("mlp:4", shape=(1, 9, 9), classes=10), tmp_path / "nine").path
    assert call(monkeypatch, *TINY[:4], "--model", str(shape), "--protocol", "isolated") == 2
    assert "takes samples of [1, 9, 9]; digits has [1, 8, 8]" in capsys.readouterr().err


def test_the_installed_command_and_a_terminal(tmp_path: Path) -> None:
    """Under a pseudo-terminal the live table appears; its last state stays on the screen."""
    command = Path(sys.executable).parent / "edge-sim"
    line = " ".join([str(command), *TINY])
    done = subprocess.run(
        ["script", "-qec", line, "/dev/null"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for word in ("device-0", "classes", "mean of 3", "2/2", "Test accuracy"):
        assert word in done.stdout


@pytest.mark.parametrize(
    "protocol", ["d-distillation", "multi-headed-distillation", "fedavg", "federated-distillation"]
)
def test_another_engine_gives_the_same_figures(protocol: str) -> None:
    """Accuracies within two test rows of each other after two rounds, the same bytes."""
    ours, theirs = (
        result(protocol=protocol, compare=(), rounds=2, engine=engine)["devices"]
        for engine in ("onnx-runtime", "tflite")
    )
    for a, b in zip(ours, theirs, strict=True):
        assert a["payload_bytes_sent"] == b["payload_bytes_sent"]
        assert abs(a["accuracy_all"] - b["accuracy_all"]) <= 2.5 / 450


def test_a_protocol_whose_batches_are_of_no_fixed_size() -> None:
    job = {"data": "cartpole", "optimizer": "adam", "reference": "10", "rounds": 1, "split": "iid"}
    with pytest.raises(ConfigError, match="tflite wants to know the rows of a batch"):
        result(protocol="federated-reinforcement-distillation", compare=(), engine="tflite", **job)
