"""The recipes: 20 steps of a bundle in Node.js and in a browser are the steps that Python takes."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge import Trainer, data
from edge.interfaces import Array
from export import zoo
from export.write import export
from tests.waiting import eventually
from tests.web.browser import shown
from tests.web.programs import ROOT, beside, node, refused

RECIPES = ROOT / "docs" / "recipes"
STEPS, ROWS = 20, 32
OPTIMIZERS = {"mlp:32": "sgd", "small-cnn": "adam"}


@pytest.fixture(scope="module")
def digits() -> tuple[Array, Array]:
    dataset = data.load("digits", 0)
    return dataset.x_train[:200], dataset.y_train[:200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: tuple[Array, Array]) -> Path:
    """The recipes beside what they need, bundles, and data."""
    folder = beside(tmp_path_factory.mktemp("recipes") / "folder", *RECIPES.glob("train.*"))
    for name, optimizer in OPTIMIZERS.items():
        export(zoo.build(name, shape=(1, 8, 8), classes=10), folder / name.replace(":", "-"), optimizer=optimizer)
    np.savez_compressed(folder / "data.npz", x=digits[0], y=digits[1])
    return folder


def expected(bundle: Path, digits: tuple[Array, Array]) -> list[float]:
    trainer, (x, y) = Trainer(bundle), digits
    starts = [step * ROWS % (len(x) - ROWS + 1) for step in range(STEPS)]
    return [trainer.step((x[at : at + ROWS], y[at : at + ROWS]))["loss"] for at in starts]


def losses(text: str) -> list[float]:
    return [float(loss) for loss in re.findall(r"^step \d+ loss (\S+)$", text, flags=re.MULTILINE)]


@pytest.mark.parametrize("model", OPTIMIZERS)
def test_in_node(model: str, folder: Path, digits: tuple[Array, Array]) -> None:
    bundle = folder / model.replace(":", "-")
    printed = losses(node(folder / "train.mjs", bundle, folder / "data.npz"))
    np.testing.assert_allclose(printed, expected(bundle, digits), rtol=1e-5)
    assert printed[-1] < printed[0]


def test_in_a_browser(folder: Path, tmp_path: Path, digits: tuple[Array, Array]) -> None:
    bundles = [model.replace(":", "-") for model in OPTIMIZERS]
    pages = [f"/train.html?bundle={bundle}/&data=data.npz" for bundle in bundles]
    with shown(folder, tmp_path / "profile", *pages) as texts:
        eventually(lambda: all(len(losses(t)) == STEPS or "error" in t for t in texts.now), 60)
    for text, bundle in zip(texts.now, bundles, strict=True):
        np.testing.assert_allclose(losses(text), expected(folder / bundle, digits), rtol=1e-5, err_msg=text)


def test_a_bundle_that_was_altered_is_refused(folder: Path, tmp_path: Path) -> None:
    altered = shutil.copytree(folder / "mlp-32", tmp_path / "altered")
    (altered / "train.onnx").write_bytes((altered / "train.onnx").read_bytes() + b"\0")
    assert "train.onnx is not the file that was exported" in refused(folder / "train.mjs", altered, folder / "data.npz")


def test_an_archive_that_is_none_is_refused(folder: Path) -> None:
    manifest = folder / "mlp-32" / "manifest.json"
    assert "this is no NumPy archive" in refused(folder / "train.mjs", folder / "mlp-32", manifest)


@pytest.mark.parametrize("recipe", sorted(RECIPES.glob("train.*")), ids=lambda path: path.name)
def test_a_recipe_has_at_most_60_lines(recipe: Path) -> None:
    assert len(recipe.read_text().splitlines()) <= 60
