"""Class numbers mean the same on every device: labels are read against the classes of the bundle."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge import cli, data
from edge.bundle import read
from edge.device import Device
from edge.errors import BundleError, ConfigError, DataError
from edge.installation import Installation
from edge.interfaces import Array
from edge.labels import Classes, declared
from edge.messaging.mailbox import Waiting
from edge.transports.memory import Network
from edge_sim import cli as emulator
from export import cli as exporter
from export import zoo
from export.write import export
from tests.pair import objective
from tests.refusals import refusal

PETS = ("cat", "dog", "owl")
CONFIG = """
id = "{me}"
peers = ["a", "b"]
topology = "complete"
bundle = "{bundle}"
data = "npz:{data}"
reference = "npz:reference.npz"
rounds = {rounds}
[settings]
local_steps = 10
learning_rate = 0.2
"""


def samples(n: int) -> Array:
    return np.random.default_rng(n).random((n, 4), np.float32)


def bundle(folder: Path, names: tuple[str, ...] = (), classes: int = 3, shape: tuple[int, ...] = (4,)) -> Path:
    model = zoo.build("mlp:16", shape=shape, classes=classes)
    return export(model, folder, objective=objective(), class_names=names).path


def node(folder: Path, me: str = "a", rounds: int = 2, data: str = "", bundle: str = "bundle") -> Path:
    path = folder / f"{me}.toml"
    path.write_text(CONFIG.format(me=me, rounds=rounds, data=data or f"{me}.npz", bundle=bundle))
    return path


def labelled(folder: Path, y: Any, me: str = "a", **more: Any) -> Path:
    """A device's file, and the reference set."""
    np.savez(folder / "reference.npz", x=samples(50))
    np.savez(folder / f"{me}.npz", x_train=samples(len(y)), y_train=np.array(y), **more)
    return node(folder, me)


def parted(folder: Path, me: str, own: range, tested: bool) -> None:
    """Digits of some classes, tested on digits of all ten, or not at all."""
    whole = data.load("digits", 0)
    mine = np.isin(whole.y_train, own)
    test: dict[str, Any] = {"x_test": whole.x_test, "y_test": whole.y_test} if tested else {}
    np.savez(folder / f"{me}.npz", x_train=whole.x_train[mine], y_train=whole.y_train[mine], **test)
    np.savez(folder / "reference.npz", x=whole.x_train[::4])


def played(files: list[Path]) -> list[tuple[Device, list[dict[str, float]]]]:
    """Devices made from files, as `edge-node` makes them, and their rows; in this process, in virtual time."""
    network, time = Network("test"), [0.0]
    devices = []
    for file in files:
        installation = Installation.read(file, {})
        parts = installation.parts()
        transport = network.attach(installation.id)
        devices.append(installation.device(parts, installation.engine(parts), transport, lambda: time[0]))
    rows: dict[str, list[dict[str, float]]] = {one.id: [] for one in devices}
    running = {one.id: one.rounds() for one in devices}
    while running:
        steps = {name: next(steps, None) for name, steps in running.items()}
        running = {name: running[name] for name, step in steps.items() if step is not None}
        for name, step in steps.items():
            if step is not None and not isinstance(step, Waiting):
                rows[name].append(step)
        until = [step.until for step in steps.values() if isinstance(step, Waiting)]
        if len(until) == len(steps):  # everybody waits; whoever has a message goes on at once
            time[0] += min(0.1, max(0.0, min(until) - time[0]))
    return [(one, rows[one.id]) for one in devices]


def test_devices_with_different_classes_learn_all_ten(tmp_path: Path) -> None:
    bundle(tmp_path / "bundle", classes=10, shape=(1, 8, 8))
    parted(tmp_path, "a", range(4), tested=False)
    parted(tmp_path, "b", range(4, 10), tested=False)
    test = data.load("digits", 0)
    for device, rows in played([node(tmp_path, me, rounds=40) for me in "ab"]):
        assert sum(row["timeouts"] for row in rows) == 0
        outputs = device.protocol.heads(device.engine, test.x_test, None)[-1].argmax(axis=1)
        assert set(outputs) == set(range(10))
        assert device.scores(test.x_test, test.y_test)["accuracy"] > 0.7  # alone: at most 0.4 and 0.6


def test_text_is_looked_up_in_the_order_of_the_bundle(tmp_path: Path) -> None:
    bundle(tmp_path / "bundle", ("owl", "cat", "dog"))
    file = labelled(tmp_path, ["dog", "owl", "dog"], x_test=samples(1), y_test=np.array([b"cat"]))
    fleet = Installation.read(file, {}).parts().fleet
    assert fleet.dataset.names == ("owl", "cat", "dog")
    np.testing.assert_array_equal(fleet.dataset.y_train, [2, 0, 2])
    np.testing.assert_array_equal(fleet.dataset.y_test, [1])


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64])
def test_integers_stay_as_they_are(dtype: type, tmp_path: Path) -> None:
    for names in ((), PETS):
        bundle(tmp_path / "bundle", names)
        fleet = Installation.read(labelled(tmp_path, np.array([2, 1, 2], dtype)), {}).parts().fleet
        np.testing.assert_array_equal(fleet.dataset.y_train, [2, 1, 2])
        assert fleet.dataset.y_train.dtype == np.int64
        assert fleet.dataset.classes == 3
        assert not len(fleet.dataset.y_test)


@pytest.mark.parametrize(
    ("y", "names", "complaint"),
    [
        ([0, 1, 7, 9], (), "npz:a.npz: training row 2 has the label 7; the bundle bundle has the classes 0 to 2"),
        ([0, -1], PETS, "npz:a.npz: training row 1 has the label -1; the bundle bundle has the classes 0 to 2: cat, "),
        (["cat", "fox"], PETS, "training row 1 has the label 'fox'; the bundle bundle has the classes 0 to 2: cat, do"),
        (["cat", "dog"], (), "the labels are text ('cat' in training row 0), but the bundle bundle declares no class"),
        (["0", "1"], (), "export it with edge-export --classes NAME,NAME,..."),
        ([b"cat\xff"], PETS, "labels must be UTF-8"),
    ],
)
def test_a_label_that_is_no_class_is_one_line(
    y: list[Any],
    names: tuple[str, ...],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle(tmp_path / "bundle", names)
    file = labelled(tmp_path, y)
    line = refusal(cli.main, "edge-node", ["--config", file], monkeypatch, capsys)
    assert complaint in line.replace(str(tmp_path) + "/", "")


def test_a_label_of_the_test_part_that_is_no_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "bundle")
    file = labelled(tmp_path, [0, 1], x_test=samples(2), y_test=np.array([0, 3]))
    line = refusal(cli.main, "edge-node", ["--config", file], monkeypatch, capsys)
    assert "a.npz: test row 1 has the label 3; the bundle" in line


def test_the_row_is_that_of_the_file(tmp_path: Path) -> None:
    """Also where a fifth of the rows is held out."""
    y = np.arange(100) % 3
    y[61] = 5
    np.savez(tmp_path / "d.npz", x=samples(100), y=y)
    for seed in range(8):  # the row is now in one part, now in the other
        with pytest.raises(DataError, match=r"d\.npz: row 61 has the label 5; B has the classes 0 to 2"):
            data.load(f"npz:{tmp_path / 'd.npz'}", seed, Classes(3, (), "B"))


def test_a_loader_that_numbers_its_classes() -> None:
    plain = data.load("margin-stream:100:5", 0)
    against = data.load("margin-stream:100:5", 0, Classes(2, ("above", "below"), "B"))
    np.testing.assert_array_equal(against.y_train, 1 - plain.y_train)
    assert data.load("margin-stream:100:5", 0, Classes(2, (), "B")).names == ("below", "above")
    with pytest.raises(DataError, match="margin-stream:100:5 has 2 classes; B has the classes 0 to 9"):
        data.load("margin-stream:100:5", 0, Classes(10, (), "B"))
    with pytest.raises(DataError, match="has the label 'below'; B has the classes 0 to 1: cat, dog"):
        data.load("margin-stream:100:5", 0, Classes(2, ("cat", "dog"), "B"))


def test_neighbours_with_another_label_map_are_refused(tmp_path: Path) -> None:
    for name, names in (("bundle", PETS), ("other", ("dog", "cat", "owl")), ("none", ())):
        bundle(tmp_path / name, names)
    bundles = {name: read(tmp_path / name).manifest for name in ("bundle", "other", "none")}
    assert len({manifest.model_digest for manifest in bundles.values()}) == 3
    for me in "ab":
        labelled(tmp_path, ["cat", "dog", "owl"] * 20, me)
    for other, refused in (("bundle", False), ("other", True)):
        for device, rows in played([node(tmp_path, "a"), node(tmp_path, "b", bundle=other)]):
            assert (rows[-1]["timeouts"] > 0) == refused
            assert (device.inbox.counts["foreign"] > 0) == refused


def test_names_stand_in_the_manifest_only_where_they_are_declared(tmp_path: Path) -> None:
    named, plain = bundle(tmp_path / "named", PETS), bundle(tmp_path / "plain")
    assert json.loads((named / "manifest.json").read_text())["class_names"] == list(PETS)
    assert "class_names" not in json.loads((plain / "manifest.json").read_text())
    manifest = read(plain).manifest
    assert manifest.class_names is None
    assert manifest.with_classes(b"12345678") == b"12345678"
    digest = hashlib.sha256(b'12345678["cat", "dog", "owl"]').digest()[:8]
    assert read(named).manifest.with_classes(b"12345678") == digest
    text = (named / "manifest.json").read_text()
    (named / "manifest.json").write_text(text.replace('"owl"', '"cat"'))
    with pytest.raises(BundleError, match="class_names: expected 3 different ones, got cat, dog, cat"):
        read(named)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("1", "--classes 1: expected 2 or more classes"),
        ("cat", "expected a number, or 2 or more different names as in cat,dog,owl"),
        ("cat,,dog", "different names"),
        ("cat,dog,cat", "different names"),
        ("-3", "different names"),
        ("4,9", "'4' is no name; integer labels are class numbers already"),
    ],
)
def test_classes_that_cannot_be_declared(
    text: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConfigError, match="--classes"):
        declared(text)
    words = ["zoo:mlp", "-o", tmp_path / "b", f"--classes={text}"]
    assert complaint in refusal(exporter.main, "edge-export", words, monkeypatch, capsys)


def test_classes_are_declared_with_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["edge-export", "zoo:mlp", "--shape", "4", "-o", str(tmp_path / "b"), "--classes", "cat, dog,owl"]
    monkeypatch.setattr(sys, "argv", words)
    assert exporter.main() == 0
    assert "cat, dog, owl" in capsys.readouterr().out
    assert read(tmp_path / "b").manifest.class_names == PETS
    assert read(tmp_path / "b").manifest.classes == 3


def test_the_emulator_numbers_integers_with_a_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.savez(tmp_path / "d.npz", x=samples(60), y=1 + np.arange(60) % 6)
    dataset = data.load(f"npz:{tmp_path / 'd.npz'}", 0)
    assert dataset.names == tuple("123456")
    assert set(dataset.y_train) == set(range(6))
    (record,) = caplog.records
    assert record.getMessage().endswith("d.npz: the labels 1, 2, 3, 4, 5, 6 are the classes 0 to 5")
    caplog.clear()
    data.load("digits", 0)
    np.savez(tmp_path / "d.npz", x=samples(60), y=3 * np.arange(60))
    data.load(f"npz:{tmp_path / 'd.npz'}", 0)
    (record,) = caplog.records
    assert "the labels 0, 3, 6, 9, 12, 15, 18, 21, ..., 177 are the classes 0 to 59" in record.getMessage()


def test_the_emulator_reads_labels_against_a_bundle_with_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "bundle", PETS)
    np.savez(tmp_path / "d.npz", x=samples(90), y=np.array(["cat", "dog", "fox"] * 30))
    words = ["--data", f"npz:{tmp_path / 'd.npz'}", "--model", tmp_path / "bundle", "--reference", "10"]
    line = refusal(emulator.main, "edge-sim", words, monkeypatch, capsys)
    assert "row 2 has the label 'fox'; the bundle" in line


def test_the_emulator_needs_a_test_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "d.npz", x_train=samples(90), y_train=np.arange(90) % 3)
    words = ["--data", f"npz:{tmp_path / 'd.npz'}", "--model", "zoo:mlp", "--reference", "10"]
    line = refusal(emulator.main, "edge-sim", words, monkeypatch, capsys)
    assert "has no test part, which the emulator measures accuracy on; add one" in line
