"""The training step alone, as an application uses it."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime  # noqa: TID251 - as another program would load the file
import pytest
from onnx.reference import ReferenceEvaluator

from edge import Trainer
from edge.bundle import Bundle
from edge.engines import ENGINES
from edge.errors import ConfigError, DataError, EngineError
from edge.interfaces import Metrics
from tests.edge.application.models import CLASSES, blobs, mlp


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return mlp(tmp_path_factory.mktemp("mlp") / "bundle", optimizer="momentum")


def test_it_learns_from_names_and_answers_in_probabilities(bundle: Bundle) -> None:
    x, y = blobs(200)
    trainer = Trainer(bundle.path)
    before = trainer.evaluate(x, y)
    rows = trainer.fit(x.tolist(), np.array(CLASSES)[y], epochs=5)
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1]["loss"] < rows[0]["loss"]
    after = trainer.evaluate(x, np.array(CLASSES)[y])
    assert after["loss"] < before["loss"]
    assert after["accuracy"] > 0.9
    assert trainer.steps == 5 * 7
    assert trainer.predict(x[0]).shape == (1, 3)


def test_a_step_is_the_engines_step_at_the_scheduled_rate(bundle: Bundle) -> None:
    trainer = Trainer(bundle, learning_rate=0.2, schedule="warm-up:2+step:1:0.5")
    engine = ENGINES.load("onnx-runtime").create(bundle)
    for seed, rate in enumerate([0.1, 0.2, 0.2, 0.1]):
        x, y = blobs(8, seed)
        now = trainer.learning_rate
        assert now == pytest.approx(rate)
        assert trainer.step((x, y)) == engine.step({"x": x, "labels": y}, learning_rate=now)
    assert all(np.array_equal(value, engine.state()[key]) for key, value in trainer.state().items() if key != "steps")


def test_the_best_epoch_is_kept_and_waiting_for_a_better_one_ends(bundle: Bundle) -> None:
    x, y = blobs(60)
    wrong = (y[40:] + 1) % 3  # what is learnt from the rest makes these worse
    trainer = Trainer(bundle, learning_rate=0.3)
    first = trainer.evaluate(x[40:], wrong)["loss"]
    rows = trainer.fit(x[:40], y[:40], epochs=50, validation=(x[40:], wrong), patience=3)
    losses = [row["validation_loss"] for row in rows]
    assert len(rows) == int(np.argmin(losses)) + 1 + 3
    assert trainer.evaluate(x[40:], wrong)["loss"] == min(losses) > first


def test_a_fraction_is_held_out(bundle: Bundle) -> None:
    x, y = blobs(50)
    trainer = Trainer(bundle)
    (row,) = trainer.fit(x, y, epochs=1, batch_size=8, validation=0.2)
    assert trainer.steps == 5
    assert 0 <= row["validation_accuracy"] <= 1


def test_an_interrupted_fit_goes_on_as_if_nothing_had_been(bundle: Bundle, tmp_path: Path) -> None:
    x, y = blobs(70)
    whole = Trainer(bundle, schedule="cosine:30")
    expected = whole.fit(x, y, epochs=6, validation=0.2)

    def interrupt(row: Metrics) -> None:
        if row["epoch"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(bundle, schedule="cosine:30").fit(
            x, y, epochs=6, validation=0.2, checkpoint=tmp_path / "c", on_epoch=interrupt
        )
    again = Trainer(bundle, schedule="cosine:30")
    rows: list[Metrics] = []
    assert again.fit(x, y, epochs=6, validation=0.2, checkpoint=tmp_path / "c", on_epoch=rows.append) == expected
    assert [row["epoch"] for row in rows] == [5, 6]
    assert again.steps == whole.steps
    assert all(np.array_equal(value, whole.parameters()[name]) for name, value in again.parameters().items())
    with pytest.raises(ConfigError, match=r"another fit .batch_size 32, now 16"):
        Trainer(bundle, schedule="cosine:30").fit(x, y, batch_size=16, validation=0.2, checkpoint=tmp_path / "c")


def test_predictions_of_another_thread_are_of_whole_steps(bundle: Bundle) -> None:
    """Every answer is one that the model gave after some step."""
    x, y = blobs(64)
    trainer, probe = Trainer(bundle, learning_rate=0.5), x[:1]
    answers: list[bytes] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set() or not answers:
            answers.append(trainer.predict(probe).tobytes())

    thread = threading.Thread(target=ask)
    valid = {trainer.predict(probe).tobytes()}
    thread.start()
    for _ in range(100):
        trainer.step((x, y))
        valid.add(trainer.predict(probe).tobytes())
    done.set()
    thread.join()
    assert {*answers} <= valid


def test_the_saved_model_is_plain_and_equal(bundle: Bundle, tmp_path: Path) -> None:
    x, y = blobs(40)
    trainer = Trainer(bundle)
    trainer.fit(x, y, epochs=2)
    trainer.save(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [value.name for value in model.graph.input] == ["x"]
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert metadata["murmur.class_names"] == '["left", "right", "up"]'
    expected = trainer.predict(x)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    runs: tuple[Any, ...] = (session.run, ReferenceEvaluator(model).run)
    for run in runs:
        assert np.abs(run(["probabilities"], {"x": x})[0] - expected).max() < 1e-6


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        (np.zeros((5, 3)), [0] * 5, r"x: bundle takes \[n, 4\] or one sample; got \[5, 3\]"),
        (np.full((5, 4), np.nan), [0] * 5, "x holds NaN"),
        ([["a"] * 4], [0], r"x: expected numbers of shape \[n, 4\], got list"),
        (np.zeros((5, 4)), [0] * 4, r"y: expected \[5\], got \[4\]"),
        (np.zeros((2, 4)), [0, 3], "row 1 has the label 3; bundle has the classes 0 to 2: left, right, up"),
        (np.zeros((2, 4)), ["up", "down"], "row 1 has the label 'down'"),
        (np.zeros((2, 4)), [0.0, 1.0], "y: expected class numbers or names"),
    ],
)
def test_bad_data_are_refused(bundle: Bundle, x: object, y: object, reason: str) -> None:
    trainer = Trainer(bundle)
    for use in (trainer.fit, lambda x, y: trainer.step((x, y))):
        with pytest.raises(DataError, match=reason):
            use(x, y)
    assert trainer.steps == 0


def test_bad_settings_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    x, y = blobs(10)
    for reason, settings in {"schedule 'cos'": {"schedule": "cos"}, "learning_rate -1": {"learning_rate": -1}}.items():
        with pytest.raises(ConfigError, match=reason):
            Trainer(bundle, **settings)  # type: ignore[arg-type]
    trainer = Trainer(bundle)
    for reason, options in {
        "epochs 0": {"epochs": 0},
        "patience: expected": {"patience": 2},
        "leaves 0 to judge by": {"validation": 0.01},
    }.items():
        with pytest.raises(ConfigError, match=reason):
            trainer.fit(x, y, **options)  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="a step needs x, labels"):
        trainer.step({"x": x})
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        trainer.save(tmp_path / "model.pt")
    distilled = mlp(tmp_path / "distilled", "cross_entropy + squared_error(reference)")
    with pytest.raises(ConfigError, match="whose steps need reference_x, labels, reference_target"):
        Trainer(distilled).fit(x, y)


@pytest.mark.parametrize(
    ("objective", "labels", "key"),
    [
        ("mean_squared_error", lambda x, y: x[:, :3] + x[:, 1:], "r2"),
        ("binary_cross_entropy", lambda x, y: (x[:, :3] > 1).astype(np.float32), "micro_f1"),
    ],
)
def test_other_tasks_are_trained_and_judged(objective: str, labels: Any, key: str, tmp_path: Path) -> None:
    x, y = blobs(200)
    trainer = Trainer(mlp(tmp_path / "b", objective), learning_rate=0.1)
    before = trainer.evaluate(x, labels(x, y))
    rows = trainer.fit(x, labels(x, y), epochs=10, validation=0.2)
    after = trainer.evaluate(x, labels(x, y))
    assert after[key] > before[key]
    assert after["loss"] < before["loss"]
    assert rows[-1]["loss"] < rows[0]["loss"]
