"""Data that does not fit is one line and exit code 2, on a device and in the emulator."""

from pathlib import Path

import numpy as np
import pytest

from edge import cli
from edge.algorithm import load as algorithm
from edge.errors import ConfigError
from edge.installation import Installation
from edge_sim import cli as emulator
from export import zoo
from export.transforms import heads
from export.transforms.split import split
from export.write import export
from tests.edge.data.test_sources import CSV, pictures
from tests.edge.test_labels import PETS, bundle, labelled, node, played
from tests.refusals import refusal

TABLE = CSV.replace("dog", "owl")


def on_a_device(folder: Path, data: str, names: tuple[str, ...] = ("cat", "dog", "owl")) -> Path:
    bundle(folder / "bundle", names, shape=(2,))
    np.savez(folder / "reference.npz", x=np.ones((5, 2)))
    file = node(folder, "a")
    file.write_text(file.read_text().replace("npz:a.npz", data))
    return file


@pytest.mark.parametrize(
    ("text", "names", "options", "complaint"),
    [
        (TABLE, PETS, "?label=type&without=user", "csv:t.csv has no column 'type'; it has: user, a, b, kind"),
        (TABLE, PETS, "?label=kind&columns=a,c", "csv:t.csv has no column 'c'; it has: user, a, b, kind"),
        (TABLE.replace("0.5,", "nan,"), PETS, "?label=kind&without=user", "csv:t.csv: line 6: column 'a' holds 'nan'"),
        (TABLE.replace("owl", "fox"), PETS, "?label=kind&without=user", "has the label 'fox'; the bundle bundle has"),
        (TABLE, (), "?label=kind&without=user", "but the bundle bundle declares no class names"),
        (
            TABLE.replace("cat", "1").replace("owl", "3"),
            PETS,
            "?label=kind&without=user",
            "has the label 3; the bundle bundle has the classes 0 to 2: cat, dog, owl",
        ),
    ],
)
def test_a_table_on_a_device(
    text: str,
    names: tuple[str, ...],
    options: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = on_a_device(tmp_path, f"csv:t.csv{options}", names)
    (tmp_path / "t.csv").write_text(text)
    line = refusal(cli.main, "edge-node", ["--config", file], monkeypatch, capsys)
    assert complaint in line.replace(str(tmp_path) + "/", "")


def test_a_table_that_fits(tmp_path: Path) -> None:
    file = on_a_device(tmp_path, "csv:t.csv?label=kind&without=user")
    (tmp_path / "t.csv").write_text(TABLE)
    dataset = Installation.read(file, {}).parts().fleet.dataset
    assert set(dataset.y_train) == {0, 2}
    file.write_text(file.read_text().replace("rounds = 2", 'rounds = 2\nholdout = "by:user:2"'))
    assert len(Installation.read(file, {}).parts().fleet.dataset.y_test) == 8


def test_a_folder_of_one_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    source = pictures(tmp_path / "pictures", {"cat": 3})
    line = refusal(emulator.main, "edge-sim", ["--data", source], monkeypatch, capsys)
    assert "expected 2 or more subfolders, one a class; only 'cat' has" in line


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--data", "csv:none.csv"], "data: csv:none.csv cannot be read: there is no such file"),
        (["--data", "csv:t.csv?label=kind"], "column 'user' holds 'u0', which is no number"),
        (["--data", "csv:t.csv?label=kind&without=user", "--holdout", "by:room:2"], "it has: user"),
        (["--data", "margin-stream", "--holdout", "0.5"], "comes with a test part of its own"),
        (["--data", "csv:t.csv?label=kind&without=user", "--holdout", "none"], "has no test part"),
    ],
)
def test_in_the_emulator(
    words: list[str],
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    header, *lines = CSV.splitlines()
    (tmp_path / "t.csv").write_text("\n".join([header, *(f"u{line}" for line in lines)]))
    words = [*words, "--reference", "4", "--devices", "2"]
    assert complaint in refusal(emulator.main, "edge-sim", words, monkeypatch, capsys)


def test_a_reference_set_of_ones_own_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle(tmp_path / "bundle")
    file = labelled(tmp_path, [0, 1, 2] * 20)
    file.write_text(file.read_text().replace("npz:reference.npz", "10"))
    line = refusal(cli.main, "edge-node", ["--config", file], monkeypatch, capsys)
    assert "reference '10' takes rows of npz:a.npz, which is this device's own" in line
    Installation.read(file, {"split": "iid"}).parts()
    export(zoo.build("mlp:16", shape=(4,), classes=3), tmp_path / "bundle")
    file.write_text(file.read_text().partition("[settings]")[0])
    Installation.read(file, {"protocol": "d-psgd"}).parts()  # which sends weights, and needs no reference set


def test_a_neighbour_with_another_label_map_is_named(tmp_path: Path) -> None:
    bundle(tmp_path / "bundle", PETS)
    bundle(tmp_path / "other", PETS[::-1])
    for me in "ab":
        labelled(tmp_path, ["cat", "dog", "owl"] * 20, me)
    for device, _ in played([node(tmp_path, "a"), node(tmp_path, "b", bundle="other")]):
        (other,) = {"a", "b"} - {device.id}
        assert device.inbox.refusals[f"other_digest/{other}"] == device.inbox.counts["foreign"] > 0


def test_a_centre_with_other_class_names(tmp_path: Path) -> None:
    protocol = algorithm("fedgkt", {}, "settings")
    model = heads.embed(zoo.build("mlp:16-8", shape=(4,), classes=3), None)
    at = next(node.output[0] for node in model.nodes if node.op_type == "Relu")
    for name, names in (("same", PETS), ("other", PETS[::-1])):
        edge, server = split(model, at)
        assert protocol.centre_objective is not None
        export(edge, tmp_path / name / "edge", objective=" + ".join(protocol.objective), class_names=names)
        export(server, tmp_path / name / "server", objective=" + ".join(protocol.centre_objective), class_names=names)
    np.savez(tmp_path / "d.npz", x_train=np.ones((9, 4)), y_train=np.arange(9) % 3)
    file = tmp_path / "server.toml"
    file.write_text(
        'role = "server"\npeers = ["a", "b"]\nprotocol = "fedgkt"\nbundle = "same/edge"\ndata = "npz:d.npz"\n'
        'reference = "npz:d.npz"\ncentre_bundle = "same/server"\n'
    )
    Installation.read(file, {}).parts()
    with pytest.raises(ConfigError, match="centre_bundle: other/server has the classes owl, dog, cat, the devices' b"):
        Installation.read(file, {"centre_bundle": "other/server"}).parts()
