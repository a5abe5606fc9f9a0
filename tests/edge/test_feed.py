"""The buffers that a step's inputs are copied into."""

from pathlib import Path

import numpy as np
import pytest

from edge.bundle import Bundle
from edge.engines import onnx_runtime, random_batch
from edge.engines._feed import ALIGNMENT, Feed, aligned
from edge.errors import EngineError
from export import zoo
from export.write import export


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return export(zoo.build("mlp:8", shape=(5,), classes=4), tmp_path / "bundle")


def test_buffers_stay_while_the_shapes_do(bundle: Bundle) -> None:
    feed = Feed(bundle.manifest)
    assert feed.fill(random_batch(bundle, 6))
    first = feed.arrays
    assert all(array.ctypes.data % ALIGNMENT == 0 for array in first.values())
    second = random_batch(bundle, 6, seed=1)
    assert not feed.fill(second)
    assert feed.arrays is first
    assert all(np.array_equal(first[name], value) for name, value in second.items())
    assert feed.fill(random_batch(bundle, 7))


def test_a_batch_is_checked_in_the_first_step_and_in_any_other(bundle: Bundle) -> None:
    good = random_batch(bundle, 6)
    spoilt = {
        "row 3": {**good, "x": np.where(np.arange(6)[:, None] == 3, np.float32(np.nan), good["x"])},
        "'x' holds NaN or infinite": {**good, "x": np.full_like(good["x"], -np.inf)},
        "go from -1": {**good, "labels": good["labels"] * 0 - 1},
        "to 4": {**good, "labels": good["labels"] * 0 + 4},
        "must be float32": {**good, "x": good["x"].astype(np.float64)},
        "must be int64": {**good, "labels": good["labels"].astype(np.int32)},
        "other inputs of its batch have 6": {**good, "labels": good["labels"][:5]},
        "a step needs x, labels": {"x": good["x"]},
        "it was given x, label": {"x": good["x"], "label": good["labels"]},
    }
    for words, batch in spoilt.items():
        with pytest.raises(EngineError, match=words):
            Feed(bundle.manifest).fill(batch)
        used = Feed(bundle.manifest)
        used.fill(good)
        with pytest.raises(EngineError, match=words):
            used.fill(batch)
        assert not used.fill(good)


def test_large_numbers_are_numbers(bundle: Bundle) -> None:
    feed, batch = Feed(bundle.manifest), random_batch(bundle, 6)
    feed.fill(batch)
    assert not feed.fill({**batch, "x": np.full_like(batch["x"], 3e38)})


def test_where_an_array_is_makes_no_difference(bundle: Bundle) -> None:
    one, other = onnx_runtime.create(bundle), onnx_runtime.create(bundle)
    for seed in range(4):
        batch = random_batch(bundle, 6, seed=seed)
        memory = np.empty(batch["x"].size + 1, np.float32)
        moved = memory[1:].reshape(batch["x"].shape)
        moved[...] = batch["x"]
        assert one.step(batch) == other.step({"x": moved, "labels": batch["labels"][::-1].copy()[::-1]})
    assert all(np.array_equal(v, other.state()[k]) for k, v in one.state().items())


def test_sizes_may_alternate(bundle: Bundle) -> None:
    engine = onnx_runtime.create(bundle)
    for rows in (6, 2, 6, 1, 6):
        batch = random_batch(bundle, rows, seed=rows)
        fresh = onnx_runtime.create(bundle)
        fresh.load_state(engine.state())
        assert engine.step(batch) == fresh.step(batch)
    assert engine.work == {("train", 6, 0): 3, ("train", 2, 0): 1, ("train", 1, 0): 1}


def test_an_aligned_array_of_nothing() -> None:
    assert aligned((), np.dtype(np.float32)).shape == ()
