"""Classifiers that come with the onnx package; `python -m benchmarks.light` trains all nine."""

from pathlib import Path

import numpy as np
import onnx.backend.test
import pytest

from benchmarks.light import train
from edge.engines.onnx_runtime import create
from export.load import load
from export.write import export

FOLDER = Path(onnx.backend.test.__file__).parent / "data" / "light"


@pytest.mark.parametrize(("name", "size"), [("squeezenet", 1_235_496), ("shufflenet", 1_393_320)])
def test_three_finite_steps(name: str, size: int, tmp_path: Path) -> None:
    """Of an old operator set, with weights that are ConstantOfShape nodes, and logits (N, K, 1, 1)."""
    model = load(FOLDER / f"light_{name}.onnx")
    assert sum(value.size for value in model.parameters.values()) == size
    losses = train(create(export(model, tmp_path / "bundle")))
    assert np.isfinite(losses).all()
    assert losses[2] < losses[0]
