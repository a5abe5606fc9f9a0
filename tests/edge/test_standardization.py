"""Input scaling as part of the model."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime  # noqa: TID251
import pytest

from edge.bundle import read
from edge.engines import ENGINES
from edge.errors import MurmurError
from edge.interfaces import Array
from edge.standardization import channel_axis, ill_scaled, measure
from edge_sim import Scenario, run
from export import cli as exporter
from export import load as loading
from export import zoo
from export.transforms.split import split
from export.transforms.standardize import standardize
from export.write import export
from tests.export.test_load import classifier, saved
from tests.refusals import refusal


def vectors(n: int = 400) -> Array:
    random = np.random.default_rng(0)
    x = random.normal(size=(n, 4)) * [27, 0.01, 3, 0] + [100, 0, -5, 7]
    return x.astype(np.float32)


@pytest.mark.parametrize("shape", [(5,), (3, 40), (40, 3), (3, 8, 9), (8, 9, 3)])
def test_measured_data_has_mean_0_and_spread_1(shape: tuple[int, ...]) -> None:
    x = (np.random.default_rng(0).normal(size=(1500, *shape)) * 9 + 4).astype(np.float32)
    measured = measure(x)
    assert measured.axis == channel_axis(shape)
    scaled = (x - measured.along(measured.shift, len(shape))) * measured.along(measured.scale, len(shape))
    others = tuple(i for i in range(x.ndim) if i != measured.axis + 1)
    np.testing.assert_allclose(scaled.mean(others), 0, atol=1e-4)
    np.testing.assert_allclose(scaled.std(others), 1, atol=1e-4)


def test_a_constant_column_is_not_scaled() -> None:
    measured = measure(vectors())
    assert measured.constant == (3,)
    assert measured.scale[3] == 1.0
    assert measured.shift[3] == 7.0
    assert measure(np.full((9, 1), 0.1, np.float32)).constant == (0,)


@pytest.mark.parametrize(
    ("spread", "mean", "wrong"), [(1, 0, False), (0.21, 0, False), (0.19, 0, True), (5.1, 0, True), (1, 6, True)]
)
def test_which_data_is_ill_scaled(spread: float, mean: float, wrong: bool) -> None:
    x = np.tile([[-1.0], [1.0]], (50, 1)) * spread + mean
    assert bool(ill_scaled(x)) == wrong
    assert not ill_scaled(x.astype(np.int64))  # token numbers


@pytest.mark.parametrize("model", ["mlp:8", "tcn", "small-cnn"])
def test_the_model_does_what_scaled_data_would(model: str, tmp_path: Path) -> None:
    shape = {"mlp:8": (4,), "tcn": (6, 32), "small-cnn": (1, 8, 8)}[model]
    x = (np.random.default_rng(1).normal(size=(32, *shape)) * 27 + 3).astype(np.float32)
    y = np.arange(32) % 3
    plain = zoo.build(model, shape=shape, classes=3, seed=0)
    scaled = standardize(plain, x, "x")
    engines = []
    for name, one in (("plain", plain), ("scaled", scaled)):
        bundle = export(one, tmp_path / name)
        engines.append(ENGINES.load("onnx-runtime").create(bundle, threads=1, seed=0, home=None))
    measured = measure(x)
    by_hand = (x - measured.along(measured.shift, len(shape))) * measured.along(measured.scale, len(shape))
    for _ in range(3):
        losses = [
            engine.step({"x": batch, "labels": y}, learning_rate=0.1)["loss"]
            for engine, batch in zip(engines, (by_hand, x), strict=True)
        ]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    np.testing.assert_allclose(engines[0].predict(by_hand), engines[1].predict(x), rtol=1e-3, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "scaled" / "predict.onnx")
    assert {i.name for i in session.get_inputs()} >= {"x"}


def test_the_manifest_and_the_digest_have_it(tmp_path: Path) -> None:
    plain = zoo.build("mlp:8", shape=(4,), classes=3, seed=0)
    bundles = [
        export(model, tmp_path / name)
        for name, model in (
            ("plain", plain),
            ("a", standardize(plain, vectors(), "r")),
            ("b", standardize(plain, 2 * vectors(), "r")),
        )
    ]
    assert len({bundle.manifest.model_digest for bundle in bundles}) == 3
    assert "standardization" not in json.loads((tmp_path / "plain" / "manifest.json").read_text())
    again = read(tmp_path / "a").manifest
    assert again == bundles[1].manifest
    assert again.standardization == measure(vectors())
    assert [p.name for p in again.parameters] == [p.name for p in bundles[0].manifest.parameters]


def test_a_split_scales_on_the_device_alone(tmp_path: Path) -> None:
    whole = zoo.build("small-cnn", shape=(1, 8, 8), classes=3, seed=0)
    at = next(node.output[0] for node in whole.nodes if node.op_type == "MaxPool")
    x = np.random.default_rng(0).normal(size=(9, 1, 8, 8)).astype(np.float32)
    device, server = split(standardize(whole, x, "x"), at)
    assert export(device, tmp_path / "device").manifest.standardization is not None
    assert export(server, tmp_path / "server").manifest.standardization is None


def test_tflite_scales_alike(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    x, y = vectors(16), np.arange(16) % 3
    bundle = export(standardize(zoo.build("mlp:8", shape=(4,), classes=3, seed=0), x, "x"), tmp_path / "b", rows=(16,))
    losses = [
        ENGINES.load(name).create(bundle, threads=1, seed=0, home=None).step({"x": x, "labels": y})["loss"]
        for name in ("onnx-runtime", "tflite")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def exported(folder: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["edge-export", *map(str, words), "-o", str(folder / "b")])
    return exporter.main()


def test_the_exporter_says_what_it_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "r.npz", x=vectors())
    words = ["zoo:mlp:8", "--shape", "4", "--classes", "3", "--standardize", f"npz:{tmp_path / 'r.npz'}", "--json"]
    assert exported(tmp_path, monkeypatch, *words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "r.npz: 4 features or channels, means -5" in facts["notes"][0]
    assert facts["notes"][1].endswith("so shifted but not scaled: 3")
    assert facts["standardization"]["constant"] == [3]
    assert exported(tmp_path, monkeypatch, "zoo:mlp:8", "--shape", "1x8x8", "--standardize", "digits", "--json") == 0
    assert "digits: 1 features or channels" in json.loads(capsys.readouterr().out)["notes"][0]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["zoo:mlp", "--shape", "5", "--standardize", "npz:r.npz"], "its samples are [4]; model 'mlp' takes [5]"),
        (["zoo:mlp", "--shape", "4", "--standardize", "npz:none.npz"], "npz:none.npz cannot be read"),
        (["zoo:mlp", "--shape", "4", "--standardize", "nowhere"], "data 'nowhere': unknown data 'nowhere'"),
        (["zoo:mlp", "--backbone", "b.tflite", "--standardize", "npz:r.npz"], "leave out --standardize"),
    ],
)
def test_what_cannot_be_standardized(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "r.npz", x=vectors())
    monkeypatch.chdir(tmp_path)
    if "--backbone" in words:
        import shutil

        shutil.copy(Path(__file__).parents[1] / "models" / "digits-int8.tflite", "b.tflite")
    line = refusal(exporter.main, "edge-export", [*words, "-o", "b"], monkeypatch, capsys)
    assert complaint in line
    assert not Path("b").exists()


def badly_scaled(folder: Path) -> str:
    random = np.random.default_rng(0)
    y = np.arange(600) % 3
    x = random.normal(size=(3, 5))[y] * 27 + random.normal(size=(600, 5)) * 9 + 40
    np.savez(folder / "d.npz", x=x, y=y)
    return f"npz:{folder / 'd.npz'}"


def fleet(data: str, **changes: Any) -> Scenario:
    return Scenario(
        **{"data": data, "devices": 2, "topology": "complete", "rounds": 6, "reference": "60", "protocol": "isolated"}
        | changes
    )


def test_the_emulator_scales_what_needs_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = run(fleet(badly_scaled(tmp_path), model="zoo:mlp:8"))
    assert result.mean_accuracy > 0.9
    assert not any(device.outcome for device in result.devices)
    assert "the input is standardized by the reference set (60 of npz:" in result.notes[0]
    assert result.notes[0] in caplog.text
    never = run(fleet(badly_scaled(tmp_path), model="zoo:mlp:8", standardize="never"))
    assert "zoo:mlp:8 is trained on it as it is (standardize: never)" in never.notes[0]
    assert never.mean_accuracy < result.mean_accuracy


def test_data_of_a_good_scale_trains_faster_standardized_and_is_left_alone_if_told_to() -> None:
    auto, always, never = (
        run(fleet("digits", rows=300, model="zoo:mlp:8", rounds=2, standardize=choice))
        for choice in ("auto", "always", "never")
    )
    assert auto.devices == always.devices
    assert [r.loss for r in auto.rounds] == [r.loss for r in always.rounds]
    assert "standardized" in auto.notes[0]
    assert auto.devices != never.devices
    assert not never.notes
    assert auto.mean_accuracy > never.mean_accuracy


def test_a_bundle_is_trained_as_it_is_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = badly_scaled(tmp_path)
    plain = zoo.build("mlp:8", shape=(5,), classes=3, seed=0)
    export(plain, tmp_path / "b")
    result = run(fleet(data, model=str(tmp_path / "b"), rounds=1))
    assert "does not scale it: export it again with edge-export --standardize" in result.notes[0]
    with pytest.raises(MurmurError, match="standardize: a bundle is trained as it was exported"):
        run(fleet(data, model=str(tmp_path / "b"), standardize="always"))
    caplog.clear()
    with np.load(tmp_path / "d.npz") as arrays:
        export(standardize(plain, arrays["x"].astype(np.float32), "d"), tmp_path / "b")
    assert run(fleet(data, model=str(tmp_path / "b"), rounds=1)).notes == []
    assert not caplog.text


def test_the_device_warns(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    from edge.installation import Installation
    from tests.edge.test_labels import labelled

    export(
        zoo.build("mlp:4", shape=(4,), classes=3, seed=0),
        tmp_path / "bundle",
        objective="cross_entropy + soft_cross_entropy(reference)",
    )
    file = labelled(tmp_path, [0, 1, 2])
    Installation.read(file, {}).parts()
    assert not caplog.text
    with np.load(tmp_path / "a.npz") as arrays:
        np.savez(tmp_path / "a.npz", x_train=50 * arrays["x_train"].astype(np.float64), y_train=arrays["y_train"])
    Installation.read(file, {}).parts()
    assert "note: npz:a.npz has a spread of" in caplog.text
    assert "bundle does not scale it: export it again" in caplog.text


def test_token_numbers_have_no_scale(tmp_path: Path) -> None:
    from onnx import helper

    model = loading.load(saved(classifier(), tmp_path))
    gathering = helper.make_node("Gather", ["table", model.input], ["rows"])
    tokens = type(model)(**{**vars(model), "nodes": (gathering, *model.nodes)})
    with pytest.raises(MurmurError, match="the model takes token numbers, which have no scale"):
        standardize(tokens, np.zeros((3, *model.shape), np.float32), "r")
