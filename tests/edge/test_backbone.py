"""A frozen int8 backbone and the head behind it; the model is of benchmarks/exporters/int8_backbone.py."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edge import backbone, data, reference
from edge import bundle as bundles
from edge.bundle import Backbone, Bundle
from edge.errors import BundleError, DataError
from edge_sim.run import run
from edge_sim.scenario import Scenario
from export import cli
from export.errors import ExportError
from export.transforms import backbone as cutting

MODEL = Path(__file__).parents[1] / "models" / "digits-int8.tflite"
FEATURES = "sequential_1_1/sequential_1/global_average_pooling2d_1/Mean"
OBJECTIVE = "cross_entropy + soft_cross_entropy(reference)"


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """Softmax regression on 48 features, as the command line makes it."""
    words = ["edge-export", "zoo:linear", "-o", str(tmp_path / "head"), "--backbone", str(MODEL), "--backbone-output"]
    monkeypatch.setattr(sys, "argv", [*words, FEATURES, "--objective", OBJECTIVE, "--tflite", "32,32", "--json"])
    assert cli.main() == 0
    return bundles.read(tmp_path / "head")


def digits() -> data.Dataset:
    return data.load("digits", 0)


def test_the_bundle_says_what_it_takes(head: Bundle) -> None:
    assert head.manifest.backbone == Backbone(shape=(1, 8, 8), range=(0.0, 1.0))
    assert (head.manifest.sample, head.manifest.shape) == ((1, 8, 8), (48,))


def test_features_are_what_the_whole_model_computes_there(head: Bundle) -> None:
    """Cut or whole, the same integers; and the logits of the whole model tell 0 to 4 apart."""
    x = digits().x_test[:20]
    with pytest.warns(UserWarning, match="debugging"):
        whole = Interpreter(model_content=MODEL.read_bytes(), experimental_preserve_all_tensors=True)
    whole.allocate_tensors()
    tensor = next(t for t in whole.get_tensor_details() if t["name"] == FEATURES)
    given = whole.get_input_details()[0]
    scale, zero = given["quantization"]
    ours = backbone.features(head.path / "backbone.tflite", Backbone(shape=(1, 8, 8), range=(0, 1)), x)
    for image, row in zip(x, ours, strict=True):
        whole.set_tensor(given["index"], np.round(image.reshape(1, 8, 8, 1) / scale + zero).astype(np.int8))
        whole.invoke()
        real = (whole.get_tensor(tensor["index"]).astype(np.float32) - tensor["quantization"][1]) * np.float32(
            tensor["quantization"][0]
        )
        np.testing.assert_array_equal(row, real.reshape(-1))


def test_features_are_standardised_by_what_everybody_has(head: Bundle) -> None:
    whole = digits()
    public = reference.of(whole.x_train[:300])
    through, (own,) = backbone.featured(head, public, [whole.x_train[300:340]])
    assert through.digest == public.digest  # the name is that of the samples
    np.testing.assert_allclose(through.x.mean(axis=0), 0, atol=1e-4)
    spread = through.x.std(axis=0)
    assert set(np.round(spread, 3)) <= {0.0, 1.0}
    assert own.shape == (40, 48)
    assert own.dtype == np.float32
    alone, (again,) = backbone.featured(head, public, [whole.x_train[300:301]])
    np.testing.assert_array_equal(again[0], own[0])
    np.testing.assert_array_equal(alone.x, through.x)


@pytest.mark.parametrize("engine", ["onnx-runtime", "tflite"])
def test_heads_learn_from_each_other(head: Bundle, engine: str) -> None:
    """All ten digits, on features of a network that has seen five of them."""
    settings = {"learning_rate": 0.3}
    job: dict[str, Any] = {"split": "classes:4", "model": str(head.path), "engine": engine, "rounds": 40}
    result = run(Scenario(**job, evaluate_every=40, settings={"d-distillation": settings}))
    mean = np.mean([device.accuracy_all for device in result.devices])
    assert mean > 0.8, mean


def test_without_a_backbone_nothing_changes(head: Bundle) -> None:
    plain = Bundle(head.path, head.manifest.model_copy(update={"backbone": None}))
    public = reference.of(digits().x_train[:3])
    through, (own,) = backbone.featured(plain, public, [digits().x_train[:2]])
    assert through is public
    np.testing.assert_array_equal(own, digits().x_train[:2])


def test_samples_of_another_shape(head: Bundle) -> None:
    assert head.manifest.backbone
    with pytest.raises(DataError, match=r"backbone.tflite takes samples of \[1, 8, 8\]; the data has \[1, 4, 4\]"):
        backbone.features(head.path / "backbone.tflite", head.manifest.backbone, np.zeros((2, 1, 4, 4), np.float32))


def test_a_bundle_that_lost_its_backbone(head: Bundle) -> None:
    (head.path / "backbone.tflite").unlink()
    with pytest.raises(BundleError, match="lacks"):
        bundles.read(head.path)


def test_another_range() -> None:
    """What is 0 to 1 in the data and -1 to 1 for the backbone."""
    one = backbone.features(MODEL, Backbone(shape=(1, 8, 8), range=(0, 1)), np.full((1, 1, 8, 8), 0.75, np.float32))
    other = backbone.features(MODEL, Backbone(shape=(1, 8, 8), range=(-1, 1)), np.full((1, 1, 8, 8), 0.875, np.float32))
    np.testing.assert_array_equal(one, other)


BAD = {
    "not there": (Path("nothing.tflite"), None, (0, 1), "no file at nothing.tflite"),
    "not tflite": (Path(__file__), None, (0, 1), "is not a .tflite file"),
    "no such tensor": (MODEL, "nothing", (0, 1), r"computes no 'nothing'; it computes sequential"),
    "an upside-down range": (MODEL, None, (1, 0), "--backbone-range 1,0: expected two numbers, the smaller first"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case: str) -> None:
    path, output, (low, high), complaint = BAD[case]
    with pytest.raises(ExportError, match=complaint):
        cutting.read(path, output, low, high)


def test_a_spoilt_file(tmp_path: Path) -> None:
    (tmp_path / "b.tflite").write_bytes(MODEL.read_bytes()[:200])
    with pytest.raises(ExportError, match=r"--backbone: TFLite cannot load"):
        cutting.read(tmp_path / "b.tflite", None, 0, 1)


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (["--backbone-range", "0"], "--backbone-range 0: expected two numbers, as in -1,1"),
        (["--shape", "1x8x8"], "--backbone says what the model takes; leave out --shape and --split-at"),
    ],
)
def test_bad_flags(
    more: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["edge-export", "zoo:linear", "-o", str(tmp_path / "head"), "--backbone", str(MODEL), *more]
    monkeypatch.setattr(sys, "argv", words)
    assert cli.main() == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "head").exists()
