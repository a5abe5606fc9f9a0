"""Every model of the zoo builds, is seeded, and learns."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.engines.onnx_runtime import create
from edge.errors import ConfigError
from edge.plugins import names
from export import zoo
from export.errors import ExportError
from export.training.assemble import assemble
from export.write import export

SHAPES: dict[str, list[tuple[int, ...]]] = {
    **{name: [(1, 8, 8), (3, 32, 32)] for name in names("export.zoo")},
    **{name: [(1, 8, 8)] for name in ("resnet56", "resnet110", "gkt-edge")},
    "ds-cnn": [(1, 49, 10)],
    "gru": [(9, 64)],
    "tcn": [(9, 64)],
    "tiny-transformer": [(9, 64), (1, 8, 8)],
}
STEPS = {"resnet56": 12, "resnet110": 12, "mobilenet-v2": 30, "resnet20": 30}


@pytest.mark.parametrize(("name", "shape"), [(n, s) for n, shapes in SHAPES.items() for s in shapes])
def test_learns(name: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    engine = create(export(zoo.build(name, shape=shape, classes=5), tmp_path / "b", optimizer="adam"))
    random = np.random.default_rng(0)
    x, y = random.random((16, *shape), np.float32), np.arange(16) % 5
    losses = [engine.step({"x": x, "labels": y}, learning_rate=0.003)["loss"] for _ in range(STEPS.get(name, 60))]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", names("export.zoo"))
def test_graphs_are_standard(name: str) -> None:
    """Full check, strict inference, and nothing but the default domain."""
    training = assemble(zoo.build(name, shape=SHAPES[name][0], classes=3), optimizer="adam")
    for model in (training.train, training.predict):
        onnx.checker.check_model(model, full_check=True)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
        assert {o.domain for o in model.opset_import} | {n.domain for n in model.graph.node} == {""}


@pytest.mark.parametrize("name", names("export.zoo"))
def test_seeds(name: str) -> None:
    a, b, c = (zoo.build(name, shape=SHAPES[name][0], classes=5, seed=s).parameters for s in (1, 1, 2))
    assert all(np.array_equal(a[k], b[k]) for k in a)
    assert not all(np.array_equal(a[k], c[k]) for k in a)


def test_sizes() -> None:
    def count(spec: str, shape: tuple[int, ...]) -> int:
        return sum(p.size for p in zoo.build(spec, shape=shape, classes=10).parameters.values())

    assert count("mlp:256-128", (1, 8, 8)) == 50_826
    assert count("small-cnn:64", (1, 28, 28)) == 105_866
    assert count("lenet", (1, 28, 28)) == 61_706


def test_published_sizes() -> None:
    """FedGKT's (algorithms 5, G1), MobileNetV2's; ours for the others. Without running statistics."""

    def count(spec: str, shape: tuple[int, ...], classes: int = 10) -> int:
        model = zoo.build(spec, shape=shape, classes=classes)
        return sum(p.size for name, p in model.parameters.items() if model.trains(name))

    cifar = (3, 32, 32)
    assert count("gkt-edge", cifar) == 10_586
    assert count("resnet56", cifar) == 591_322
    assert count("resnet110", cifar) == 1_147_738
    assert count("resnet8", cifar) == 78_042
    assert count("ds-cnn", (1, 49, 10), classes=12) == 23_180
    assert count("mobilenet-v2:1.0", (3, 224, 224), classes=1000) == 3_504_872
    assert count("mobilenet-v2", (3, 224, 224), classes=1000) == 1_677_128


@pytest.mark.parametrize("widths", ["0", "a", "12-", "-3", "4-x"])
def test_bad_widths(widths: str) -> None:
    with pytest.raises(ConfigError, match="positive numbers joined by '-'"):
        zoo.build(f"mlp:{widths}", shape=(4,), classes=2)


def test_unknown() -> None:
    with pytest.raises(ConfigError, match="there are: ds-cnn, gkt-edge, gru, lenet, linear, mlp"):
        zoo.build("vgg", shape=(4,), classes=2)


@pytest.mark.parametrize(
    ("name", "shape", "complaint"),
    [
        ("small-cnn", (64,), "needs .channels, height, width."),
        ("small-cnn", (1, 2, 2), "too small"),
        ("small-cnn", (1, 1, 9), "too small"),
        ("resnet8", (9, 128), "need images"),
        ("mobilenet-v2", (64,), "needs images"),
        ("ds-cnn", (64,), "needs .channels, height, width."),
        ("tcn", (1, 8, 8), "needs windows"),
        ("gru", (1, 8, 8), "needs windows"),
        ("tiny-transformer", (64,), "needs .channels, height, width. or .channels, time."),
        ("tiny-transformer", (9, 4), "too small"),
    ],
)
def test_shapes_a_model_cannot_take(name: str, shape: tuple[int, ...], complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        zoo.build(name, shape=shape, classes=2)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("resnet8:3", "takes no argument"),
        ("gru:8-8", "expected 1 width"),
        ("mobilenet-v2:wide", "width multiplier"),
        ("mobilenet-v2:0", "width multiplier"),
    ],
)
def test_bad_arguments(spec: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        zoo.build(spec, shape=(1, 32, 32), classes=2)
