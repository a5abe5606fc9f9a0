"""Every model of the zoo builds, is seeded, and learns."""

from pathlib import Path

import numpy as np
import pytest

from edge.engines.onnx_runtime import create
from edge.errors import ConfigError
from edge.plugins import names
from export import zoo
from export.errors import ExportError
from export.write import export


@pytest.mark.parametrize("name", names("export.zoo"))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_learns(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    engine = create(export(zoo.build(name, shape=shape, classes=5), tmp_path / "b", optimizer="adam"))
    random = np.random.default_rng(0)
    x, y = random.random((16, *shape), np.float32), np.arange(16) % 5
    losses = [engine.step({"x": x, "labels": y}, learning_rate=0.003)["loss"] for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", names("export.zoo"))
def test_seeds(name: str) -> None:
    a, b, c = (zoo.build(name, shape=(1, 8, 8), classes=5, seed=s).parameters for s in (1, 1, 2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not all(np.array_equal(a[k], c[k]) for k in a)


def test_sizes() -> None:
    def count(spec: str, shape: tuple[int, ...]) -> int:
        return sum(p.size for p in zoo.build(spec, shape=shape, classes=10).parameters.values())

    assert count("mlp:256-128", (1, 8, 8)) == 50_826
    assert count("small-cnn:64", (1, 28, 28)) == 105_866
    assert count("lenet", (1, 28, 28)) == 61_706


@pytest.mark.parametrize("widths", ["0", "a", "12-", "-3", "4-x"])
def test_bad_widths(widths: str) -> None:
    with pytest.raises(ConfigError, match="positive numbers joined by '-'"):
        zoo.build(f"mlp:{widths}", shape=(4,), classes=2)


def test_unknown() -> None:
    with pytest.raises(ConfigError, match="there are: lenet, mlp, small-cnn"):
        zoo.build("vgg", shape=(4,), classes=2)


@pytest.mark.parametrize("shape", [(64,), (1, 2, 2), (1, 1, 9)])
def test_shapes_a_cnn_cannot_take(shape: tuple[int, ...]) -> None:
    with pytest.raises(ExportError, match="images"):
        zoo.build("small-cnn", shape=shape, classes=2)
