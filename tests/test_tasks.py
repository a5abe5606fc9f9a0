"""A regression and a multi-label job, from the data to two real nodes over a broker; metrics; what is refused."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, r2_score, root_mean_squared_error

from broker import embedded
from edge import bundle as bundles
from edge import task as tasks
from edge.errors import ConfigError, DataError
from edge.task import MULTI_LABEL, PER_POSITION, REGRESSION
from edge_sim.run import run
from edge_sim.scenario import Scenario
from export import cli as export_cli
from export.errors import ExportError
from tests.edge.test_cli import finish, start
from tests.refusals import refusal

RATE = {"learning_rate": 0.02}
CFD = "compressed-federated-distillation"
PROTOCOLS = ("d-distillation", "isolated", "d-psgd", "fedavg", "dynamic-averaging", CFD)
SETTINGS: dict[str, Any] = {
    **dict.fromkeys(PROTOCOLS, RATE),
    "dynamic-averaging": {**RATE, "threshold": 0.02},
    CFD: {**RATE, "up_bits": 8, "down_bits": 8, "server_rate": 0.02, "server_steps": 10},
}


def emulated(**changes: Any) -> Any:
    small = {"devices": 4, "split": "dirichlet:0.5", "model": "zoo:mlp:16", "rounds": 12, "reference": "80"}
    return run(Scenario(**{**small, "settings": SETTINGS, **changes}))


@pytest.mark.parametrize("data", ["diabetes", "digit-attributes"])
def test_the_protocols_that_say_so_run_on_a_job_that_is_no_classification(data: str) -> None:
    rate = {"learning_rate": 0.02 if data == "diabetes" else 0.2}
    settings = {name: {**SETTINGS[name], **rate} for name in PROTOCOLS}
    result = emulated(data=data, compare=PROTOCOLS, settings=settings, rounds=15)
    scores = {line.protocol: line.mean_accuracy for line in result.comparison}
    assert scores.keys() == {*PROTOCOLS}
    assert result.metric == ("R2" if data == "diabetes" else "mean average precision")
    assert scores["d-distillation"] > scores["isolated"] + 0.02
    assert result.scores.keys() == ({"r2", "rmse"} if data == "diabetes" else {"average_precision", "micro_f1"})
    assert result.rounds[-1].loss is not None
    assert "accuracy" not in result.rounds[-1].metrics
    for line in result.comparison:
        assert line.payload_bytes_per_device > 0 or line.protocol == "isolated"


@pytest.mark.parametrize("mixing", ["plain", "push-sum"])
def test_every_mixing_takes_outputs_that_are_no_distributions(mixing: str) -> None:
    settings = {"d-distillation": {**RATE, "mixing": mixing}}
    result = emulated(data="diabetes", settings=settings, rounds=8)
    assert result.mean_accuracy > 0
    assert result.rounds[-1].metrics["rejected_invalid"] == 0


@pytest.mark.parametrize("coding", ["range:8", "range:4", "float16", "float32", "int8-delta"])
def test_codings_of_outputs(coding: str) -> None:
    result = emulated(data="diabetes", coding={"outputs": coding}, rounds=6)
    assert not any(result.counts.values())
    assert result.mean_accuracy == pytest.approx(emulated(data="diabetes", rounds=6).mean_accuracy, abs=0.05)


@pytest.mark.parametrize("supervision", ["huber[0.5]", "huber"])
def test_another_loss_in_place_of_the_tasks_own(supervision: str) -> None:
    result = emulated(data="diabetes", supervision=supervision, rounds=2)
    assert "loss/huber" in result.rounds[-1].metrics


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"protocol": "faug"}, "faug runs on classification, and this model is for regression; on that run: comp"),
        ({"privacy": {"noise": "gaussian:0.1"}}, "noise 'gaussian:0.1' applies to distributions over classes"),
        ({"aggregation": "median"}, "aggregation 'median' applies to distributions over classes"),
        ({"protocol": CFD, "settings": {CFD: {}}}, "up_bits 1, down_bits 1: the numbers of a regression need 4 to 8"),
        ({"coding": {"outputs": "simplex:8"}}, "coding.outputs: simplex:8 is for soft-labels"),
        ({"coding": {"soft_labels": "range:8"}}, "coding.soft_labels: range:8 is for outputs"),
        ({"supervision": "squared_error"}, "'squared_error' does not learn from labels"),
        ({"supervision": "hinge"}, "supervision: objective term 'hinge' is not"),
        ({"task": "ranking"}, "unknown task 'ranking'; there are: classification"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        emulated(**{"data": "diabetes", **changes})


def test_a_loss_for_other_labels_is_refused() -> None:
    with pytest.raises(ExportError, match=r"supervision: cross_entropy learns from labels of cl"):
        emulated(data="diabetes", supervision="cross_entropy")


def archive(path: Path, seed: int = 0) -> str:
    random = np.random.default_rng(seed)
    x = random.standard_normal((160, 6)).astype(np.float32)
    np.savez(path, x=x, y=(x @ [1.0, -0.5, 0.3, 0, 0, 0.2])[:, None])
    return f"npz:{path}"


def test_labels_of_a_file_are_numbers_if_the_task_says_so(tmp_path: Path) -> None:
    file = archive(tmp_path / "line.npz")
    result = emulated(data=file, task="regression", reference="40", split="iid", model="zoo:linear")
    assert result.mean_accuracy > 0.9
    with pytest.raises(DataError, match=r"labels must be integers or text, one a row; got float64 \[160, 1\]"):
        emulated(data=file)
    with pytest.raises(DataError, match=r"has the label .*; expected 0 or 1"):
        emulated(data=file, task="multi-label")


@pytest.mark.parametrize("task", ["regression", "multi-label"])
def test_two_nodes_over_a_broker(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = archive(tmp_path / "line.npz")
    if task == "multi-label":
        with np.load(tmp_path / "line.npz") as line:
            x = line["x"]
        np.savez(tmp_path / "line.npz", x=x, y=(x[:, :3] > 0).astype(int))
    words = ["zoo:linear", "--shape", "6", "--classes", "1" if task == "regression" else "3", "--task", task]
    words += ["--objective", "d-distillation", "-o", str(tmp_path / "bundle")]
    monkeypatch.setattr(sys, "argv", ["edge-export", *words])
    assert export_cli.main() == 0
    manifest = bundles.read(tmp_path / "bundle").manifest
    assert manifest.task == task
    with embedded.running() as broker:
        for me in "ab":
            (tmp_path / f"{me}.toml").write_text(
                f'id = "{me}"\nbroker = "{broker.url}"\npeers = ["a", "b"]\ntopology = "complete"\nbundle = "bundle"\n'
                f'data = "{data}"\nsplit = "dirichlet:0.5"\nreference = "40"\nrounds = 20\n'
                "[settings]\nlearning_rate = 0.05\ndistillation_weight = 1\n"
            )
        nodes = [start(tmp_path / f"{me}.toml") for me in "ab"]
        for rows in map(finish, nodes):
            assert rows[-1]["timeouts"] == 0
            assert rows[-1]["rejected_invalid"] == 0
            assert rows[-1]["r2_all" if task == "regression" else "average_precision_all"] > 0.8
            assert rows[-1].keys() >= ({"rmse_all"} if task == "regression" else {"micro_f1_all"})
            assert rows[-1].keys().isdisjoint({"accuracy", "accuracy_all"})


def test_the_task_takes_part_in_the_digests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = set()
    for task in ("classification", "multi-label", "regression"):
        words = ["zoo:linear", "--shape", "6", "--classes", "3", "--task", task, "-o", str(tmp_path / task)]
        monkeypatch.setattr(sys, "argv", ["edge-export", *words])
        assert export_cli.main() == 0
        manifest = bundles.read(tmp_path / task).manifest
        digests |= {manifest.model_digest, manifest.with_classes(bytes(8))}
        said = json.loads((tmp_path / task / "manifest.json").read_text()).keys() & {"task", "supervision", "arguments"}
        assert said == (set() if task == "classification" else {"task", "supervision"})
    assert len(digests) == 6


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--task", "regression", "--objective", "cross_entropy"], "learns from labels of classification"),
        (["--task", "multi-label", "--objective", "faug"], "faug runs on classification, and this model is for multi-"),
        (["--task", "guessing"], "unknown task 'guessing'"),
        (["--objective", "binary_cross_entropy[1,2]"], "has 2 weights; the model has 10 labels"),
        (["--objective", "weighted_cross_entropy[1,2]"], "has 2 weights; the model has 10 classes"),
    ],
)
def test_what_an_export_refuses(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = ["zoo:linear", "-o", tmp_path / "b", *words]
    assert complaint in refusal(export_cli.main, "edge-export", whole, monkeypatch, capsys)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("seed", range(3))
def test_metrics_are_scikit_learns(seed: int) -> None:
    random = np.random.default_rng(seed)
    p, y = np.round(random.random((60, 4)), 1), random.integers(0, 2, (60, 4))  # many equal scores
    weights = random.dirichlet(np.ones(60))
    for share in (None, weights):
        scores = MULTI_LABEL.scores(p, y, share)
        assert scores["average_precision"] == pytest.approx(average_precision_score(y, p, sample_weight=share))
        assert scores["micro_f1"] == pytest.approx(f1_score(y, p > 0.5, average="micro", sample_weight=share))
        z, t = random.standard_normal((60, 2)), random.standard_normal((60, 2))
        scores = REGRESSION.scores(z, t, share)
        assert scores["r2"] == pytest.approx(r2_score(t, z, sample_weight=share))
        both = root_mean_squared_error(t, z, sample_weight=share, multioutput="raw_values")
        assert scores["rmse"] == pytest.approx(float(np.sqrt((both**2).mean())))


def test_positions_without_a_label_do_not_count() -> None:
    outputs = np.zeros((2, 3, 4))
    outputs[:, 1] = 1
    y = np.array([[1, 1, -1, 0], [1, 255, 255, 255]])
    assert PER_POSITION.score(outputs, y) == pytest.approx(3 / 4)


def test_strata_are_groups_of_rows_by_their_labels() -> None:
    numbers = np.arange(100.0)[:, None]
    assert np.bincount(REGRESSION.strata(numbers, numbers)).tolist() == [10] * tasks.STRATA
    labels = np.array([[1, 0], [1, 1], [0, 0], [1, 0]])
    assert MULTI_LABEL.strata(labels, labels).tolist() == [0, 1, 2, 0]
    assert MULTI_LABEL.held(labels) == (0, 1)
