"""What engines keep in a device's home, and what they say when something is not there."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import pytest

from edge import bundle as bundles
from edge.bundle import SQUARED_NORM, Bundle
from edge.engines import _session, _tuning, onnx_runtime, random_batch, tflite
from edge.engines._session import Options
from edge.errors import BundleError, EngineError
from edge.interfaces import Trial
from edge.storage.digests import sha256
from export import zoo
from export.write import export


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return export(zoo.build("small-cnn", shape=(1, 8, 8), classes=4), tmp_path / "bundle")


def losses(bundle: Bundle, home: Path | None) -> list[float]:
    engine = onnx_runtime.create(bundle, home=home)
    return [engine.step(random_batch(bundle, 6, seed=i), learning_rate=0.01)["loss"] for i in range(4)]


def test_optimised_graphs_are_kept_and_give_the_same(bundle: Bundle, tmp_path: Path) -> None:
    plain, home = losses(bundle, None), tmp_path / "home"
    assert losses(bundle, home) == plain
    assert not home.exists()  # nothing before the device itself has written there
    home.mkdir()
    _session._session.cache_clear()
    assert losses(bundle, home) == plain
    (kept,) = (home / onnx_runtime.OPTIMISED).iterdir()  # of the graph that was used: predict was not asked
    assert kept.name.startswith("train-")
    _session._session.cache_clear()
    assert losses(bundle, home) == plain


@pytest.mark.parametrize("content", [b"", b"half a graph"])
def test_a_spoilt_optimised_graph_is_built_again(bundle: Bundle, tmp_path: Path, content: bytes) -> None:
    plain = losses(bundle, tmp_path)
    (kept,) = (tmp_path / onnx_runtime.OPTIMISED).iterdir()
    good = kept.stat().st_size
    kept.write_bytes(content)
    _session._session.cache_clear()
    assert losses(bundle, tmp_path) == plain
    assert kept.stat().st_size == good


def test_a_home_that_cannot_be_written_is_no_obstacle(bundle: Bundle, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / onnx_runtime.OPTIMISED).write_text("in the way")
    _session._session.cache_clear()
    assert losses(bundle, home) == losses(bundle, None)


def test_tuning_is_kept_and_used(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_tuning, "SECONDS", 0.01)
    reported: list[Trial] = []
    trials = _tuning.tune(bundle, tmp_path / "home", (6,), reported.append)
    assert {tuple(t.options.values()) for t in reported} == {tuple(t.options.values()) for t in trials}
    assert len({tuple(t.options.values()) for t in trials}) == len(trials) >= 3
    assert _tuning.tuned(bundle, tmp_path / "home") == Options(**trials[0].options)
    assert not [f for f in (tmp_path / "home").iterdir() if f.name.startswith(".")]


def test_tuning_of_another_bundle_or_runtime_is_ignored(bundle: Bundle, tmp_path: Path) -> None:
    kept = {"options": asdict(Options(threads=3)), "of": _tuning._of(bundle)}
    (tmp_path / _tuning.FILE).write_text(json.dumps(kept))
    assert _tuning.tuned(bundle, tmp_path) == Options(threads=3)
    for spoilt in (
        {**kept, "of": {**kept["of"], "onnxruntime": "1.0"}},
        {**kept, "of": {**kept["of"], "train": "0"}},
        {**kept, "options": {"thread": 2}},
        {},
    ):
        (tmp_path / _tuning.FILE).write_text(json.dumps(spoilt))
        assert _tuning.tuned(bundle, tmp_path) is None
    (tmp_path / _tuning.FILE).write_text("{")
    assert _tuning.tuned(bundle, tmp_path) is None


def test_the_best_is_small_among_the_fast() -> None:
    def trial(threads: int, seconds: float, size: int) -> Trial:
        return Trial(asdict(Options(threads)), seconds, size)

    trials = [trial(1, 1.04, 100), trial(2, 1.0, 120), trial(3, 1.2, 10)]
    assert _tuning.best(trials).options["threads"] == 1
    assert _tuning.best([trial(1, 1.06, 100), *trials[1:]]).options["threads"] == 2


def test_a_trial_that_cannot_run_says_why(tmp_path: Path) -> None:
    model = zoo.build("mlp:4", shape=(3,), classes=2)
    gone = export(model, tmp_path / "gone")
    (gone.path / "train.onnx").unlink()
    with pytest.raises(EngineError, match=r"a trial with Options.* failed: .*lacks"):
        _tuning.tune(gone, tmp_path / "home", (6,), lambda _: None)
    assert not (tmp_path / "home").exists()


def test_prediction_is_opened_when_it_is_needed(bundle: Bundle) -> None:
    engine = onnx_runtime.create(bundle)
    engine.step(random_batch(bundle, 6))
    assert "_predict" not in vars(engine)
    engine.predict(np.zeros((1, 1, 8, 8), np.float32))
    assert "_predict" in vars(engine)


def test_a_bundle_of_before_the_norm_still_trains(bundle: Bundle) -> None:
    plain = losses(bundle, None)
    train = onnx.load(bundle.path / "train.onnx")
    kept = [output for output in train.graph.output if output.name != SQUARED_NORM]
    assert len(kept) == len(train.graph.output) - 1
    del train.graph.output[:]
    train.graph.output.extend(kept)
    onnx.save(train, bundle.path / "train.onnx")
    manifest = json.loads((bundle.path / "manifest.json").read_text())
    manifest["digests"]["train.onnx"] = sha256(bundle.path / "train.onnx")
    (bundle.path / "manifest.json").write_text(json.dumps(manifest))
    assert losses(bundles.read(bundle.path), None) == plain


def test_devices_of_a_process_share_everything_but_their_parameters(bundle: Bundle) -> None:
    several = [onnx_runtime.create(bundle) for _ in range(3)]
    assert len({id(e._train) for e in several}) == 1
    assert all(a is b for a, b in zip(*(e.bundle.parameters().values() for e in several[:2]), strict=True))


def test_a_bundle_without_the_other_runtime(bundle: Bundle) -> None:
    with pytest.raises(EngineError, match=r"has no model\.tflite; export it again with --tflite N"):
        tflite.create(bundle)


def test_batches_of_another_size(tmp_path: Path) -> None:
    model = zoo.build("mlp:4", shape=(3,), classes=2)
    bundle = export(model, tmp_path / "b", objective="cross_entropy + squared_error(reference)", rows=(6, 2))
    engine = tflite.create(bundle)
    with pytest.raises(EngineError, match=r"'reference_x' has 3 rows; .* of exactly 2 \(--tflite 6,2\)"):
        engine.step(random_batch(bundle, 6, 3))
    engine.step(random_batch(bundle, 6, 2))


def test_a_spoilt_tflite_file(tmp_path: Path) -> None:
    model = zoo.build("mlp:4", shape=(3,), classes=2)
    bundle = export(model, tmp_path / "b", rows=(6,))
    (bundle.path / "model.tflite").write_bytes(b"TFL3")
    with pytest.raises(BundleError, match=r"model\.tflite is not the file that was exported"):
        bundles.read(bundle.path)
    with pytest.raises(BundleError, match="TFLite cannot load"):
        tflite.create(bundle)


def test_without_either_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = export(zoo.build("mlp:4", shape=(3,), classes=2), tmp_path / "b", rows=(6,))
    for package in ("ai_edge_litert.interpreter", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, package, None)
    tflite._signatures.cache_clear()
    with pytest.raises(
        EngineError, match=r"need ai-edge-litert or tflite-runtime: pip install 'murmur-edge\[tflite\]'"
    ):
        tflite.create(bundle)
