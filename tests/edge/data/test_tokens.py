"""Token numbers from a file to a fleet that learns from them, and integers that are none."""

from pathlib import Path

import numpy as np
import pytest

from edge import data
from edge.errors import ConfigError, DataError
from edge_sim.run import run
from edge_sim.scenario import Scenario
from export.load import load
from export.write import export
from tests.models_of_inputs import CLASSES, LENGTH, TOKENS, embedding_classifier, two_inputs


def archive(folder: Path, dtype: str = "int64", highest: int = TOKENS) -> str:
    """Sequences whose class is the kind of token that they have most of."""
    random = np.random.default_rng(0)
    y = random.integers(0, CLASSES, 240)
    x = np.where(random.random((240, LENGTH)) < 0.7, y[:, None], random.integers(CLASSES, highest, (240, LENGTH)))
    np.savez(folder / f"ids{highest}.npz", x=x.astype(dtype), y=y)
    return f"npz:{folder / f'ids{highest}.npz'}"


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float64"])
def test_tokens_stay_as_they_are(dtype: str, tmp_path: Path) -> None:
    source = archive(tmp_path, dtype)
    dataset = data.load(source, 0, tokens=True)
    assert dataset.x_train.dtype == np.int64
    assert dataset.x_train.max() == TOKENS - 1
    reference, _ = data.take_reference("20", dataset, 0)
    assert reference.x.dtype == np.int64


def test_wide_integers_are_numbers_and_narrow_ones_pixels(tmp_path: Path) -> None:
    assert data.load(archive(tmp_path, "int64"), 0).x_train.max() == TOKENS - 1
    assert data.load(archive(tmp_path, "uint8"), 0).x_train.max() == np.float32((TOKENS - 1) / 255)


def scenario(folder: Path, **changes: object) -> Scenario:
    return Scenario.model_validate(
        {
            "data": archive(folder),
            "model": str(embedding_classifier(folder)),
            "reference": "40",
            "devices": 3,
            "rounds": 6,
            "topology": "complete",
            "protocol": "d-distillation",
            "settings": {"d-distillation": {"learning_rate": 0.5}},
            **changes,
        }
    )


def test_a_fleet_learns_from_tokens(tmp_path: Path) -> None:
    result = run(scenario(tmp_path))
    assert result.summary().mean_accuracy > 0.8


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"ids14.npz: row \d+ has the token number 1\d; .* knows 0 to {TOKENS - 1}"):
        run(scenario(tmp_path, data=archive(tmp_path, highest=TOKENS + 3)))
    with pytest.raises(ConfigError, match="takes ids, mask, and data has one array x: train it with"):
        run(scenario(tmp_path, model=str(export(load(two_inputs(tmp_path)), tmp_path / "b").path), protocol="isolated"))
    np.savez(tmp_path / "floats.npz", x=np.full((40, LENGTH), 0.5), y=np.arange(40) % CLASSES)
    with pytest.raises(DataError, match="token numbers, which are integers; got float64"):
        run(scenario(tmp_path, data=f"npz:{tmp_path / 'floats.npz'}"))
