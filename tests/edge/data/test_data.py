"""Loaders, standard form, and the reference set."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import data, reference
from edge.errors import ConfigError, DataError
from edge.interfaces import Array


def test_digits() -> None:
    dataset = data.load("digits", 0)
    assert dataset.x_train.shape == (1347, 1, 8, 8)
    assert dataset.x_test.shape == (450, 1, 8, 8)
    assert dataset.classes == 10
    assert dataset.x_train.dtype == np.float32
    assert dataset.y_train.dtype == np.int64
    assert dataset.x_train.min() == 0
    assert dataset.x_train.max() == 1
    shares = np.bincount(dataset.y_test) / np.bincount(np.concatenate([dataset.y_train, dataset.y_test]))
    assert np.ptp(shares) < 0.02  # stratified
    np.testing.assert_array_equal(dataset.x_test, data.load("digits", 0).x_test)
    assert not np.array_equal(dataset.x_test, data.load("digits", 1).x_test)


def saved(folder: Path, **arrays: Any) -> str:
    np.savez(folder / "d.npz", **arrays)
    return f"npz:{folder / 'd.npz'}"


def images(n: int, *shape: int) -> Array:
    return np.random.default_rng(n).integers(0, 256, (n, *shape)).astype(np.uint8)


@pytest.mark.parametrize(
    ("x", "shape"),
    [
        (images(20, 6, 5), (1, 6, 5)),
        (images(20, 6, 5, 3), (3, 6, 5)),
        (images(20, 3, 6, 5), (3, 6, 5)),
        (images(20, 6, 5, 1), (1, 6, 5)),
        (images(20, 7), (7,)),
        (np.random.default_rng(0).random((20, 128, 6)).astype(np.float16), (6, 128)),
        (np.random.default_rng(0).random((20, 6, 128)), (6, 128)),
        (np.random.default_rng(0).random((20, 7)), (7,)),
    ],
)
def test_npz_in_standard_form(x: Array, shape: tuple[int, ...], tmp_path: Path) -> None:
    y = np.arange(20) % 2
    dataset = data.load(saved(tmp_path, x=x, y=y, user=np.arange(20)), 0)
    assert dataset.x_train.shape == (16, *shape)
    assert dataset.x_test.shape == (4, *shape)
    assert dataset.x_train.dtype == np.float32
    assert 0 <= dataset.x_train.min() <= dataset.x_train.max() <= 1
    assert len(dataset.columns["user"]) == 16
    rows = dataset.columns["user"].astype(int)
    np.testing.assert_array_equal(dataset.y_train, y[rows])  # columns stay with their rows


def test_npz_with_both_parts_and_names(tmp_path: Path) -> None:
    y = np.array(["cat", "dog", "cat", "emu"])
    spec = saved(tmp_path, x_train=images(4, 3, 3), y_train=y, x_test=images(2, 3, 3), y_test=y[:2], room=np.arange(4))
    dataset = data.load(spec, 0)
    assert dataset.names == ("cat", "dog", "emu")
    np.testing.assert_array_equal(dataset.y_train, [0, 1, 0, 2])
    np.testing.assert_array_equal(dataset.y_test, [0, 1])
    assert list(dataset.columns) == ["room"]


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"a": np.zeros(3)}, "must hold x_train, y_train, x_test, y_test, or x, y; it holds a"),
        ({"x": images(9, 2), "y": np.arange(8)}, "9 samples, but 8 labels"),
        ({"x": images(9, 2), "y": np.zeros(9)}, "labels must be integers or text"),
        ({"x": np.full((9, 2), np.nan), "y": np.arange(9)}, "not finite"),
        ({"x": images(3, 2), "y": np.arange(3)}, "too few to hold out"),
        ({"x": np.array(["a"] * 9), "y": np.arange(9)}, "must be numbers"),
        (
            {"x_train": images(4, 3), "y_train": np.arange(4), "x_test": images(4, 5), "y_test": np.arange(4)},
            r"training samples are \(3,\), test samples \(5,\)",
        ),
    ],
)
def test_npz_that_does_not_fit(arrays: dict[str, Array], complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=complaint):
        data.load(saved(tmp_path, **arrays), 0)


def test_npz_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    spec = saved(tmp_path, x=images(20, 5, 5), y=np.arange(20) % 2)
    content = path.read_bytes()
    for broken in (b"", b"PK", content[: len(content) // 2], content[:-30], b"hello"):
        path.write_bytes(broken)
        with pytest.raises(DataError, match=r"d\.npz cannot be read"):
            data.load(spec, 0)
    with pytest.raises(DataError, match="cannot be read"):
        data.load(f"npz:{tmp_path / 'none.npz'}", 0)


def test_npz_never_unpickles(tmp_path: Path) -> None:
    spec = saved(tmp_path, x=np.array([{"a": 1}] * 9, dtype=object), y=np.arange(9))
    with pytest.raises(DataError, match="pickle"):
        data.load(spec, 0)


def idx(path: Path, values: Array) -> None:
    head = bytes([0, 0, 8, values.ndim]) + b"".join(d.to_bytes(4, "big") for d in values.shape)
    content = head + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def idx_folder(folder: Path, end: str = "") -> None:
    for part, n in (("train", 30), ("t10k", 10)):
        idx(folder / f"{part}-images-idx3-ubyte{end}", images(n, 4, 4))
        idx(folder / f"{part}-labels-idx1-ubyte{end}", (np.arange(n) % 5).astype(np.uint8))


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx(end: str, tmp_path: Path) -> None:
    idx_folder(tmp_path, end)
    dataset = data.load(f"idx:{tmp_path}", 0)
    assert dataset.x_train.shape == (30, 1, 4, 4)
    np.testing.assert_allclose(dataset.x_test[:, 0], images(10, 4, 4) / 255, atol=1e-6)
    assert dataset.classes == 5


def test_idx_that_does_not_fit(tmp_path: Path) -> None:
    idx_folder(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    content = path.read_bytes()
    for broken, complaint in [
        (content[:-1], "announces 480 bytes of data and has 479"),
        (b"PNG", "is not an IDX file"),
        (content[:3] + b"\xff" + content[4:], "announces"),
    ]:
        path.write_bytes(broken)
        with pytest.raises(DataError, match=complaint):
            data.load(f"idx:{tmp_path}", 0)
    path.unlink()
    with pytest.raises(DataError, match="lacks train-images-idx3-ubyte"):
        data.load(f"idx:{tmp_path}", 0)


def test_unknown_loader() -> None:
    with pytest.raises(ConfigError, match=r"data 'csvs:x': .*there are: .*digits, idx"):
        data.load("csvs:x", 0)


def test_reference_rows_are_taken_out_of_the_training_part() -> None:
    whole = data.load("digits", 0)
    public, private = data.take_reference("300", whole, 5)
    assert public.x.shape == (300, 1, 8, 8)
    assert len(private.x_train) == 1047

    def rows(x: Array) -> list[bytes]:
        return sorted(row.tobytes() for row in x)

    assert sorted(rows(public.x) + rows(private.x_train)) == rows(whole.x_train)
    again, _ = data.take_reference("300", whole, 5)
    assert again.digest == public.digest
    other, _ = data.take_reference("300", whole, 6)
    assert other.digest != public.digest


def test_reference_from_a_file(tmp_path: Path) -> None:
    whole = data.load("digits", 0)
    public, private = data.take_reference(saved(tmp_path, x=images(40, 8, 8)), whole, 0)
    assert public.x.shape == (40, 1, 8, 8)
    assert private is whole
    with pytest.raises(DataError, match=r"samples of \[1, 9, 9\], the data has \[1, 8, 8\]"):
        data.take_reference(saved(tmp_path, x=images(40, 9, 9)), whole, 0)


@pytest.mark.parametrize("spec", ["0", "-5", "1347", "some", "1.5"])
def test_impossible_reference(spec: str) -> None:
    with pytest.raises(ConfigError, match="a number of rows from 1 to 1346"):
        data.take_reference(spec, data.load("digits", 0), 0)


def test_the_digest_is_of_values_and_shape() -> None:
    x = np.arange(12, dtype=np.float32)
    digests = [reference.of(x.reshape(shape)).digest for shape in [(3, 4), (4, 3), (12, 1)]]
    assert len(set(digests)) == 3
    assert all(len(d) == 8 for d in digests)
    assert reference.of(x.reshape(3, 4)[:, ::-1][:, ::-1]).digest == digests[0]  # not of the memory layout
    assert digests[0].hex() == "8d4115625939d80b"


def test_a_stream_changes_its_concept_and_keeps_its_margin() -> None:
    dataset = data.load("margin-stream:4000:5:2:0.4", 3)
    assert dataset.x_train.shape == (4000, 5)
    x, y = dataset.x_train.astype(np.float64), 2 * dataset.y_train - 1

    def plane(rows: slice) -> Array:
        """By least squares; the direction along which labels change."""
        w = np.linalg.lstsq(x[rows], y[rows], rcond=None)[0]
        direction: Array = w / np.linalg.norm(w)
        return direction

    first, second = plane(slice(0, 2000)), plane(slice(2000, 4000))
    assert (np.sign(x[:2000] @ first) == y[:2000]).mean() > 0.97
    assert (np.sign(x[2000:] @ second) == y[2000:]).mean() > 0.97
    assert (np.sign(x[2000:] @ first) == y[2000:]).mean() < 0.9
    assert np.abs(x[:2000] @ first).min() > 0.2  # 0.4 for the true plane, of which this is an estimate
    assert abs(x[:2000].mean()) < 0.05
    again = data.load("margin-stream:4000:5:2:0.4", 3)
    np.testing.assert_array_equal(dataset.x_train, again.x_train)
    assert data.load("margin-stream", 0).x_train.shape == (20_000, 20)


@pytest.mark.parametrize("argument", ["0", "5:2:9", "9:2:2:x", "1:1:1:1:1"])
def test_impossible_streams(argument: str) -> None:
    with pytest.raises(ConfigError, match="expected ROWS:DIMENSIONS:CONCEPTS:MARGIN"):
        data.load(f"margin-stream:{argument}", 0)


def test_some_rows() -> None:
    whole = data.load("digits", 0)
    part = data.subsample(whole, 100, 5)
    assert (len(part.y_train), len(part.y_test)) == (100, 100)
    where = [int(np.flatnonzero((whole.x_train == row).all(axis=(1, 2, 3)))[0]) for row in part.x_train]
    assert where == sorted(where)
    assert len(data.subsample(whole, 10_000, 5).y_train) == len(whole.y_train)


def test_the_controller_of_cartpole_balances() -> None:
    gymnasium = pytest.importorskip("gymnasium")
    from edge.data.cartpole import controller

    environment = gymnasium.make("CartPole-v1")
    for seed in range(3):
        state, _ = environment.reset(seed=seed)
        for _ in range(400):
            state, _, ended, _, _ = environment.step(int(controller(np.asarray(state)[None])[0]))
            assert not ended
