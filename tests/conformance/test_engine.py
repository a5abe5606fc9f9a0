"""What every engine promises (edge.interfaces.Engine), on every engine there is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import SKIPPED, Bundle
from edge.engines import ENGINES, random_batch
from edge.engines._base import MOST_SKIPPED, Base
from edge.errors import EngineError
from edge.interfaces import Array
from tests.conformance import engines
from tests.conformance.engines import create


@pytest.fixture(params=engines.HERE)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bundles")


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Bundle:
    return engines.found("conformance", folder)


def test_every_engine_has_an_environment() -> None:
    assert ENGINES.names() == sorted(engines.ENVIRONMENTS), "see ENVIRONMENTS in engines.py"


@pytest.mark.parametrize("name", [n for n in engines.CASES if n != "conformance"])
def test_engines_agree(kind: str, name: str, folder: Path) -> None:
    """Losses within 1e-4 over 100 steps, parameters within 1e-3, of what stock ONNX Runtime makes of the bundle."""
    bundle = engines.found(name, folder)
    with np.load(bundle.path.parent / f"{name}.npz") as reference:
        ours = engines.trained(create(kind, bundle), engines.CASES[name].rate)
        apart = {k: float(np.abs(ours[k] - reference[k]).max()) for k in reference}
    losses = apart.pop("losses")
    print(f"{kind} {name}: losses within {losses:.1e}, parameters within {max(apart.values()):.1e}")
    assert losses < 1e-4
    assert max(apart.values()) < 1e-3


def test_every_step_lowers_a_convex_loss(kind: str, folder: Path) -> None:
    bundle = engines.found("convex", folder)
    engine, fixed = create(kind, bundle), random_batch(bundle, *engines.ROWS)
    losses = [engine.step(fixed, learning_rate=0.05)["loss"] for _ in range(50)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def batch(seed: int = 0, rows: int = 12, public: int = 5) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        "x": random.random((rows, 1, 8, 8), np.float32),
        "labels": random.integers(0, 4, rows),
        "reference_x": random.random((public, 1, 8, 8), np.float32),
        "reference_target": np.full((public, 4), 0.25, np.float32),
    }


def equal(a: dict[str, Array], b: dict[str, Array]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_steps_lower_the_loss(kind: str, bundle: Bundle) -> None:
    engine, fixed = create(kind, bundle), batch()
    losses = [engine.step(fixed, learning_rate=0.003)["loss"] for _ in range(40)]
    assert losses[-1] < losses[0]


def test_metrics(kind: str, bundle: Bundle) -> None:
    metrics = create(kind, bundle).step(batch())
    assert metrics.keys() == {"loss", "loss/cross_entropy", "loss/squared_error(reference)", "correct"}
    total = metrics["loss/cross_entropy"] + metrics["loss/squared_error(reference)"]
    assert metrics["loss"] == pytest.approx(total, rel=1e-5)


def test_the_same_steps_give_the_same_bits(kind: str, bundle: Bundle) -> None:
    a, b = create(kind, bundle), create(kind, bundle)
    for seed in range(5):
        assert a.step(batch(seed)) == b.step(batch(seed))
    assert equal(a.state(), b.state())


def test_engines_of_one_bundle_are_independent(kind: str, bundle: Bundle) -> None:
    a, b = create(kind, bundle), create(kind, bundle)
    before = b.state()
    a.step(batch())
    assert equal(b.state(), before)
    assert not equal(a.state(), before)


def test_state_put_back_continues_bit_for_bit(kind: str, bundle: Bundle) -> None:
    a = create(kind, bundle)
    for seed in range(3):
        a.step(batch(seed))
    b = create(kind, bundle)
    b.load_state(a.state())
    for seed in range(3, 6):
        assert a.step(batch(seed)) == b.step(batch(seed))
    assert equal(a.state(), b.state())


def test_parameters_are_copies(kind: str, bundle: Bundle) -> None:
    engine = create(kind, bundle)
    held = engine.parameters()
    kept = {k: v.copy() for k, v in held.items()}
    engine.step(batch())
    engine.step(batch())
    assert equal(held, kept)
    for value in held.values():
        value += 1
    assert not equal(engine.parameters(), held)


def test_load_parameters_is_the_inverse_and_keeps_the_rest(kind: str, bundle: Bundle) -> None:
    a, b = create(kind, bundle), create(kind, bundle)
    a.step(batch())
    first = next(iter(a.parameters()))
    b.load_parameters({first: a.parameters()[first]})
    assert np.array_equal(b.parameters()[first], a.parameters()[first])
    rest = {k: v for k, v in b.parameters().items() if k != first}
    assert all(np.array_equal(v, create(kind, bundle).parameters()[k]) for k, v in rest.items())
    b.load_parameters(a.parameters())
    assert equal(a.parameters(), b.parameters())
    assert list(b.parameters()) == [p.name for p in bundle.manifest.parameters]


@pytest.mark.parametrize("rows", [1, 3, 50])
def test_predict(kind: str, bundle: Bundle, rows: int) -> None:
    engine = create(kind, bundle)
    x = np.random.default_rng(0).random((rows, 1, 8, 8), np.float32)
    probabilities = engine.predict(x)
    assert probabilities.shape == (rows, 4)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    kept = probabilities.copy()
    engine.step(batch())
    engine.predict(x)
    np.testing.assert_array_equal(probabilities, kept)


def test_hyper_parameters_hold_for_one_step(kind: str, bundle: Bundle) -> None:
    a, b = create(kind, bundle), create(kind, bundle)
    a.step(batch(), learning_rate=0.0)
    assert equal(a.parameters(), b.parameters())
    b.load_state(a.state())
    a.step(batch())
    b.step(batch(), learning_rate=bundle.manifest.hyper["learning_rate"])
    assert equal(a.parameters(), b.parameters())


def spoiled(**changes: Any) -> dict[str, Any]:
    whole = {**batch(), **changes}
    return {k: v for k, v in whole.items() if v is not None}


NAN = np.zeros((12, 1, 8, 8), np.float32)
NAN[3, 0, 2, 5] = np.nan
BAD_BATCHES = {
    "a name missing": (spoiled(labels=None), "needs x, reference_x, labels, reference_target"),
    "a name too many": (spoiled(extra=np.zeros(1)), "needs x"),
    "a wrong shape": (spoiled(x=np.zeros((12, 8, 8), np.float32)), r"'x' must be float32 \['N', 1, 8, 8\]"),
    "a wrong dtype": (spoiled(x=np.zeros((12, 1, 8, 8))), "it is float64"),
    "labels as floats": (spoiled(labels=np.zeros(12, np.float32)), "'labels' must be int64"),
    "rows that differ": (spoiled(labels=np.zeros(11, np.int64)), "11 rows"),
    "a NaN batch": (spoiled(x=NAN), "'x' holds NaN or infinite values in row 3; no step was taken"),
}


@pytest.mark.parametrize("case", BAD_BATCHES)
def test_a_bad_batch_changes_nothing(kind: str, bundle: Bundle, case: str) -> None:
    engine = create(kind, bundle)
    engine.step(batch())
    before = engine.state()
    given, complaint = BAD_BATCHES[case]
    with pytest.raises(EngineError, match=complaint):
        engine.step(given)
    assert equal(engine.state(), before)
    engine.step(batch())


def test_a_step_that_overflows_is_undone(kind: str, bundle: Bundle) -> None:
    engine = create(kind, bundle)
    name, value = max(engine.parameters().items(), key=lambda p: p[1].size)
    engine.load_parameters({name: np.full_like(value, 3e38)})
    before = engine.state()
    with pytest.raises(EngineError, match="the step was undone"):
        engine.step(batch())
    assert equal(engine.state(), before)


def test_one_bad_step_is_skipped_and_counted(
    kind: str, bundle: Bundle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss, or only the squared gradient, is beyond float32; then training goes on."""
    monkeypatch.setattr(Base, "noticed", False)
    engine = create(kind, bundle)
    engine.step(batch())
    before = engine.state()
    for scale in (3e38, 1e30):
        metrics = engine.step(spoiled(x=np.full((12, 1, 8, 8), scale, np.float32)))
        assert metrics[SKIPPED] == 1
        assert equal(engine.state(), before)
    assert [r.levelname for r in caplog.records] == ["WARNING"], "said once"
    assert SKIPPED not in engine.step(batch(1))
    assert not equal(engine.state(), before)


def test_a_run_of_bad_steps_is_an_error(kind: str, bundle: Bundle) -> None:
    engine = create(kind, bundle)
    bad = spoiled(x=np.full((12, 1, 8, 8), 3e38, np.float32))
    for _ in range(MOST_SKIPPED - 1):
        engine.step(bad)
    with pytest.raises(EngineError, match=f"{MOST_SKIPPED} times in a row"):
        engine.step(bad)


@pytest.mark.parametrize("rate", [np.nan, np.inf, 3e38, -0.1])
def test_a_rate_out_of_range_is_refused(kind: str, bundle: Bundle, rate: float) -> None:
    engine = create(kind, bundle)
    before = engine.state()
    with pytest.raises(EngineError, match="learning_rate must be at least 0"):
        engine.step(batch(), learning_rate=rate)
    assert equal(engine.state(), before)


def test_labels_out_of_range_change_nothing(kind: str, bundle: Bundle) -> None:
    engine = create(kind, bundle)
    before = engine.state()
    for label in (-1, 4, 1000):
        with pytest.raises(EngineError):
            engine.step(spoiled(labels=np.full(12, label)))
    assert equal(engine.state(), before)


def test_unknown_scalars_and_parameters(kind: str, bundle: Bundle) -> None:
    engine = create(kind, bundle)
    before = engine.state()
    with pytest.raises(EngineError, match="no hyper-parameter 'rate'"):
        engine.step(batch(), rate=1.0)
    with pytest.raises(EngineError, match="the model has no 'parameter/nothing'"):
        engine.load_parameters({"nothing": np.zeros(1, np.float32)})
    first, value = next(iter(engine.parameters().items()))
    for wrong in (value[:1], value.astype(np.float64), np.full_like(value, np.inf)):
        with pytest.raises(EngineError):
            engine.load_parameters({first: wrong})
    assert equal(engine.state(), before)
    with pytest.raises(EngineError, match="'x' must be"):
        engine.predict(np.zeros((2, 3), np.float32))
