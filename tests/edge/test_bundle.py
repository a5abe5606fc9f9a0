"""The bundle: all of it or nothing, and nothing that was altered is used."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.bundle import Bundle, read, write
from edge.errors import BundleError
from export import zoo
from export.write import export


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return export(zoo.build("mlp:4", shape=(3,), classes=2), tmp_path / "bundle")


def edit(bundle: Bundle, **changes: Any) -> None:
    path = bundle.path / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_round_trip(bundle: Bundle) -> None:
    again = read(bundle.path)
    assert again.manifest == bundle.manifest
    for name, value in again.parameters().items():
        np.testing.assert_array_equal(value, zoo.build("mlp:4", shape=(3,), classes=2).parameters[name])
    assert again.manifest.size == 4 * 3 + 4 + 2 * 4 + 2


@pytest.mark.parametrize("file", ["train.onnx", "predict.onnx", "parameters.safetensors"])
def test_altered_short_or_missing(bundle: Bundle, file: str) -> None:
    path = bundle.path / file
    content = path.read_bytes()
    for other in (content[:-1], content + b"\0", bytes([content[0] ^ 1]) + content[1:], b""):
        path.write_bytes(other)
        with pytest.raises(BundleError, match="is not the file that was exported"):
            read(bundle.path)
    path.unlink()
    with pytest.raises(BundleError, match=f"lacks .*{file}"):
        read(bundle.path)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"format": 2}, "format: "),
        ({"surprise": 1}, "surprise: "),
        ({"classes": "many"}, "classes: "),
        ({"digests": {}}, "digests: nothing about parameters.safetensors, predict.onnx, train.onnx"),
    ],
)
def test_bad_manifest(bundle: Bundle, changes: dict[str, Any], complaint: str) -> None:
    edit(bundle, **changes)
    with pytest.raises(BundleError, match=complaint):
        read(bundle.path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_manifest_that_is_no_manifest(bundle: Bundle, text: str) -> None:
    (bundle.path / "manifest.json").write_text(text)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read(bundle.path)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", ".hidden"])
def test_digests_name_files_of_the_bundle_only(bundle: Bundle, name: str) -> None:
    edit(bundle, digests={**bundle.manifest.digests, name: "0" * 64})
    with pytest.raises(BundleError, match="is not the name of a file in the bundle"):
        read(bundle.path)


def test_parameters_that_do_not_fit_the_table(bundle: Bundle) -> None:
    table = json.loads((bundle.path / "manifest.json").read_text())["parameters"]
    table[0]["shape"] = [9, 9]
    edit(bundle, parameters=table)
    with pytest.raises(BundleError, match=r"disagree on hidden1\.weight"):
        read(bundle.path)


def test_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle: no readable"):
        read(tmp_path)


def test_other_folders_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    with pytest.raises(BundleError, match="is not a bundle; choose another place"):
        export(zoo.build("mlp:4", shape=(3,), classes=2), tmp_path / "mine")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_an_older_bundle_is_replaced_whole(bundle: Bundle) -> None:
    (bundle.path / "stray").write_text("of the old one")
    export(zoo.build("mlp:5", shape=(3,), classes=2), bundle.path)
    assert read(bundle.path).manifest.size == 5 * 3 + 5 + 2 * 5 + 2
    assert {p.name for p in bundle.path.parent.iterdir()} == {"bundle"}
    assert "stray" not in {p.name for p in bundle.path.iterdir()}


def test_a_place_that_takes_no_files(bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="cannot write the bundle"):
        write(bundle.path / "train.onnx" / "inner", bundle.manifest.model_dump(exclude={"format", "digests"}), {}, {})


def test_objective_mismatch_names_both(bundle: Bundle) -> None:
    bundle.require(("cross_entropy",), "isolated")
    with pytest.raises(
        BundleError, match=r"d-distillation needs .*squared_error\(reference\).*exported for 'cross_entropy'"
    ):
        bundle.require(("cross_entropy", "squared_error(reference)"), "d-distillation")


def test_model_digest_tells_architectures_apart(tmp_path: Path) -> None:
    a, b, c = (
        export(zoo.build(spec, shape=(3,), classes=2, seed=seed), tmp_path / str(i)).manifest.model_digest
        for i, (spec, seed) in enumerate([("mlp:4", 0), ("mlp:4", 1), ("mlp:5", 0)])
    )
    assert a == b != c
    assert len(a) == 8
