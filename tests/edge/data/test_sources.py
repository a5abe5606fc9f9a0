"""Sources people have: tables, folders of images and recordings, functions."""

import builtins
import sys
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edge import data
from edge.errors import ConfigError, DataError, MurmurError
from edge.interfaces import Array

CSV = "user,a,b,kind\n" + "".join(f"{i % 5},{i / 8},{-i},{'cat' if i % 2 else 'dog'}\n" for i in range(20))


def table(folder: Path, text: str = CSV, options: str = "?label=kind&without=user") -> str:
    (folder / "t.csv").write_text(text)
    return f"csv:{folder / 't.csv'}{options}"


def pictures(folder: Path, classes: dict[str, int], size: tuple[int, int] = (6, 4), mode: str = "RGB") -> str:
    for i, (name, count) in enumerate(classes.items()):
        (folder / name).mkdir(exist_ok=True)
        for j in range(count):
            Image.new(mode, size, 40 * i + j if mode == "L" else (40 * i + j, 0, 255)).save(folder / name / f"p{j}.png")
    return f"images:{folder}"


def recording(file: Path, values: list[int], *, width: int = 2, channels: int = 1, rate: int = 8000) -> None:
    file.parent.mkdir(exist_ok=True)
    with wave.open(str(file), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(b"".join(v.to_bytes(width, "little", signed=width > 1) for v in values))


def test_csv_takes_columns_by_name(tmp_path: Path) -> None:
    dataset = data.load(table(tmp_path), 0)
    assert dataset.x_train.shape == (16, 2)
    assert dataset.x_test.shape == (4, 2)
    assert dataset.names == ("cat", "dog")
    assert set(dataset.columns) == {"user"}
    whole = np.concatenate([dataset.x_train, dataset.x_test])
    np.testing.assert_allclose(np.sort(whole[:, 0]), np.arange(20) / 8)
    swapped = data.load(table(tmp_path, options="?label=kind&columns=b,a"), 0)
    np.testing.assert_array_equal(swapped.x_train, dataset.x_train[:, ::-1])
    assert set(swapped.columns) == {"user"}


def test_csv_with_another_separator_and_integer_labels(tmp_path: Path) -> None:
    text = "\ufeff" + CSV.replace("cat", "1").replace("dog", "0").replace(",", ";")
    dataset = data.load(table(tmp_path, text, "?label=kind&separator=;"), 0)
    assert dataset.x_train.shape == (16, 3)
    assert dataset.names == ("0", "1")
    same = data.load(table(tmp_path, text, "?label=kind&separator=%3B"), 0)
    np.testing.assert_array_equal(same.x_train, dataset.x_train)


def test_a_reference_set_needs_no_labels(tmp_path: Path) -> None:
    source = table(tmp_path, "a,b\n1,2\n3,4\n", "")
    np.testing.assert_array_equal(data.samples(source), [[1, 2], [3, 4]])
    dataset = data.load(table(tmp_path), 0)
    (tmp_path / "r.csv").write_text("a,b\n1,2\n3,4\n")
    reference, rest = data.take_reference(f"csv:{tmp_path / 'r.csv'}", dataset, 0)
    assert len(reference.x) == 2
    assert rest is dataset


@pytest.mark.parametrize(
    ("text", "options", "complaint"),
    [
        (CSV, "?label=type", r"has no column 'type'; it has: user, a, b, kind; say which holds the labels"),
        (CSV, "?label=kind&columns=a,c,d", r"has no column 'c', 'd'; it has: user, a, b, kind"),
        (CSV, "?label=kind&columns=a,kind", "no features are left beside the label 'kind'"),
        (CSV, "?labels=kind", r"no option 'labels=kind'; after the \? there are: label=, columns=, without="),
        (CSV.replace("0.5,", "nan,"), "?label=kind", r"line 6: column 'a' holds 'nan'; remove the row or fill"),
        (CSV.replace("0.5,", ","), "?label=kind", r"line 6: column 'a' holds '', which is no number"),
        (CSV.replace("0.5,", "half,"), "?label=kind", r"line 6: column 'a' holds 'half', which is no number"),
        (CSV.replace("-4,dog", "-4,"), "?label=kind", r"line 6: the label \('kind'\) is empty"),
        (CSV.replace("-4,dog", "-4"), "?label=kind", r"line 6 has 3 values; the header has 4 columns"),
        ("a,a,kind\n1,2,3\n", "?label=kind", "has two columns called 'a'"),
        ("a,b,kind\n", "?label=kind", "has no rows"),
        ("", "?label=kind", "has no column 'kind'; it has: none"),
        (CSV, "?label=kind&separator=::", "separator=::: expected one character, or tab"),
        ('a,kind\n"1,2\n', "?label=kind", "cannot be read: unexpected end of data"),
    ],
)
def test_csv_that_does_not_fit(text: str, options: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(MurmurError, match=complaint):
        data.load(table(tmp_path, text, options), 0)


def test_a_label_out_of_range_names_the_line(tmp_path: Path) -> None:
    from edge.labels import Classes

    source = table(tmp_path, CSV.replace("cat", "1").replace("dog", "0").replace("-7,1", "-7,9"))
    with pytest.raises(DataError, match=r"line 9 has the label 9; the bundle B has the classes 0 to 1"):
        data.load(source, 0, Classes(2, (), "the bundle B"))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    columns: dict[str, Any] = {
        "user": [i % 5 for i in range(20)],
        "a": [i / 8 for i in range(20)],
        "b": [-i for i in range(20)],
        "kind": ["cat" if i % 2 else "dog" for i in range(20)],
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    ours = data.load(f"parquet:{tmp_path / 't.parquet'}?label=kind&without=user", 0)
    same = data.load(table(tmp_path), 0)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(same, name))
    np.testing.assert_array_equal(ours.columns["user"], same.columns["user"].astype(int))
    parquet.write_table(pyarrow.table(columns | {"b": [None, *range(19)]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="row 0: column 'b' holds 'nan'"):
        data.load(f"parquet:{tmp_path / 't.parquet'}?label=kind", 0)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="cannot be read"):
        data.load(f"parquet:{tmp_path / 't.parquet'}?label=kind", 0)


@pytest.mark.parametrize(("source", "module"), [("parquet:t", "pyarrow"), ("images:.", "PIL")])
def test_a_library_that_is_not_installed(source: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    actual = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == module:
            raise ImportError(name)
        return actual(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(DataError, match=r"pip install 'murmur-edge\[data\]'"):
        data.load(source, 0)


@pytest.mark.parametrize(("mode", "color", "channels"), [("RGB", "rgb", 3), ("L", "grey", 1), ("L", "rgb", 3)])
def test_a_folder_of_images(mode: str, color: str, channels: int, tmp_path: Path) -> None:
    source = pictures(tmp_path, {"cat": 6, "dog": 4}, mode=mode)
    dataset = data.load(f"{source}?color={color}", 0)
    assert dataset.x_train.shape == (8, channels, 4, 6)
    assert dataset.names == ("cat", "dog")
    assert set(dataset.columns) == {"file", "prefix"}
    whole = np.concatenate([dataset.x_train, dataset.x_test])[:, 0, 0, 0]
    np.testing.assert_allclose(np.sort(whole * 255), [0, 1, 2, 3, 4, 5, 40, 41, 42, 43], atol=1e-4)
    assert data.load(f"{source}?size=2x3", 0).x_train.shape == (8, 3, 2, 3)
    assert data.samples(source).shape == (10, 3, 4, 6)


def test_images_that_do_not_fit(tmp_path: Path) -> None:
    source = pictures(tmp_path, {"cat": 3})
    with pytest.raises(DataError, match=r"expected 2 or more subfolders, one a class; only 'cat' has \.png"):
        data.load(source, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="only 'cat' has"):
        data.load(source, 0)
    with pytest.raises(DataError, match="one a class; there is none with"):
        data.load(f"images:{tmp_path / 'cat'}", 0)
    pictures(tmp_path, {"dog": 3}, size=(5, 5))
    with pytest.raises(DataError, match=r"p0\.png is 3x5x5, p0\.png is 3x4x6; all must be alike"):
        data.load(source, 0)
    (tmp_path / "dog" / "p1.png").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"p1\.png cannot be read as an image"):
        data.load(f"{source}?size=4x4", 0)
    with pytest.raises(ConfigError, match="size=4: expected HxW"):
        data.load(f"{source}?size=4", 0)
    with pytest.raises(ConfigError, match="color=blue: expected one of rgb, grey"):
        data.load(f"{source}?color=blue", 0)
    with pytest.raises(DataError, match="there is no such folder"):
        data.load(f"images:{tmp_path / 'none'}", 0)


@pytest.mark.parametrize(("width", "one"), [(1, 255), (2, 2**15 - 1), (3, 2**23 - 1), (4, 2**31 - 1)])
def test_recordings_of_every_width(width: int, one: int, tmp_path: Path) -> None:
    zero = 128 if width == 1 else 0
    for name in ("yes", "no"):
        for i in range(3):
            recording(tmp_path / name / f"anna_{i}.wav", [zero, one, zero, zero, one, one], width=width, channels=2)
    dataset = data.load(f"wav:{tmp_path}", 0)
    assert dataset.x_train.shape == (5, 2, 3)
    assert dataset.names == ("no", "yes")
    assert set(dataset.columns["prefix"]) == {"anna"}
    np.testing.assert_allclose(dataset.x_train[0], [[0, 0, 1], [1, 0, 1]], atol=0.01)


def test_recordings_are_brought_to_one_length(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for i, name in enumerate(("yes", "no")):
        for j in range(3):
            recording(tmp_path / name / f"{j}.wav", [2**14] * (6 + 4 * i))
    with pytest.raises(DataError, match=r"0\.wav is 1x6, 0\.wav is 1x10; all must be alike"):
        data.load(f"wav:{tmp_path}", 0)
    dataset = data.load(f"wav:{tmp_path}?seconds=0.001", 0)
    assert dataset.x_train.shape == (5, 1, 8)
    assert set(dataset.x_train.sum(axis=(1, 2))) == {3.0, 4.0}
    assert [r.getMessage().partition(": ")[2].split(": ")[1] for r in caplog.records] == [
        "3 recordings were cut to 0.001 s",
        "3 recordings were filled up to 0.001 s",
    ]
    recording(tmp_path / "yes" / "3.wav", [0] * 6, rate=16000)
    with pytest.raises(DataError, match=r"3\.wav has 16000 samples a second, 0\.wav has 8000"):
        data.load(f"wav:{tmp_path}?seconds=0.001", 0)
    (tmp_path / "no" / "3.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match="cannot be read as WAV"):
        data.load(f"wav:{tmp_path}?seconds=0.001", 0)
    with pytest.raises(ConfigError, match="seconds=soon"):
        data.load(f"wav:{tmp_path}?seconds=soon", 0)


def test_a_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\n"
        "def whole(): return np.ones((20, 3)), np.arange(20) % 4\n"
        "def parted(): x, y = whole(); return x, y, x[:4], y[:4]\n"
        "def named(): return {'x': whole()[0], 'y': whole()[1], 'room': np.arange(20)}\n"
        "def wrong(): return 7\n"
        "def broken(): raise RuntimeError('no camera\\nhere')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert data.load("python:my_data:whole", 0).x_train.shape == (16, 3)
    assert data.load("python:my_data:parted", 0).x_test.shape == (4, 3)
    assert set(data.load("python:my_data:named", 0).columns) == {"room"}
    for function, complaint in (
        ("wrong", r"must return \(x, y\)"),
        ("broken", "failed: RuntimeError: no camera here"),
        ("none", "has no attribute 'none'"),
        ("a b", "expected python:package.module:function"),
    ):
        with pytest.raises(MurmurError, match=complaint):
            data.load(f"python:my_data:{function}", 0)
    sys.modules.pop("my_data")
    with pytest.raises(ConfigError, match="No module named 'nowhere'"):
        data.load("python:nowhere:f", 0)


def users(folder: Path) -> str:
    user = np.arange(200) % 10
    np.savez(folder / "u.npz", x=np.arange(400.0).reshape(200, 2), y=np.arange(200) % 3, user=user)
    return f"npz:{folder / 'u.npz'}"


def of(x: Array) -> set[int]:
    """The users whose rows these are."""
    return set((x[:, 0] / 2 % 10).astype(int).tolist())


def test_nobody_stands_on_both_sides(tmp_path: Path) -> None:
    source = users(tmp_path)
    parted = data.load(source, 0, holdout="by:user:3")
    assert len(of(parted.x_test)) == 3
    assert len(parted.y_test) == 60
    assert of(parted.x_test) | of(parted.x_train) == set(range(10))
    assert not of(parted.x_test) & of(parted.x_train)
    assert set(parted.columns["user"]) == of(parted.x_train)
    again, other = (data.load(source, seed, holdout="by:user:3") for seed in (0, 1))
    assert of(again.x_test) == of(parted.x_test) != of(other.x_test)


def test_other_hold_outs(tmp_path: Path) -> None:
    source = users(tmp_path)
    assert len(data.load(source, 0, holdout="50").y_test) == 50
    assert len(data.load(source, 0, holdout="0.1").y_test) == 20
    assert not len(data.load(source, 0, holdout="none").y_test)
    whole, usual = data.load(source, 0, holdout="40"), data.load(source, 0)
    np.testing.assert_array_equal(whole.x_test, usual.x_test)
    digits, same = data.load("digits", 0, holdout="450"), data.load("digits", 0)
    np.testing.assert_array_equal(digits.x_test, same.x_test)


@pytest.mark.parametrize(
    ("source", "holdout", "complaint"),
    [
        ("", "by:room:3", "has no such column; it has: user"),
        ("", "by:user:10", "expected a number from 1 to 9, as 'user' has 10 values"),
        ("", "by:user:some", "expected a number from 1 to 9"),
        ("", "by:user", "expected by:COLUMN:N, a number of rows, a fraction below 1, or none"),
        ("", "1.5", "expected by:COLUMN:N"),
        ("", "0", "expected by:COLUMN:N"),
        ("", "200", "200 rows are too few to hold out 200"),
        ("margin-stream:100:5", "0.2", "margin-stream:100:5 comes with a test part of its own; leave holdout out"),
        ("python:tests.edge.data.test_sources:divided", "0.2", "has a test part of its own"),
    ],
)
def test_hold_outs_that_cannot_be(source: str, holdout: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(MurmurError, match=complaint):
        data.load(source or users(tmp_path), 0, holdout=holdout)


def divided() -> tuple[Array, Array, Array, Array]:
    """What a function for data may return."""
    x, y = np.ones((6, 2)), np.arange(6) % 2
    return x, y, x, y
