"""Freezing: what is not trained does not move, and costs no backward work."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from edge.engines.onnx_runtime import create
from edge.interfaces import Array
from export import zoo
from export.errors import ExportError
from export.model import Model
from export.transforms.trainable import select
from export.write import export


def model() -> Model:
    return zoo.build("small-cnn:16", shape=(1, 8, 8), classes=4)


LAYERS = ("conv1", "conv2", "hidden1", "output")
CHOICES = {
    "all": sorted(f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")),
    "last:1": ["output.bias", "output.weight"],
    "last:2": ["hidden1.bias", "hidden1.weight", "output.bias", "output.weight"],
    "bias-only": sorted(f"{layer}.bias" for layer in LAYERS),
    "conv?.weight": ["conv1.weight", "conv2.weight"],
    "output.*": ["output.bias", "output.weight"],
}


def some_batch() -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {"x": random.random((8, 1, 8, 8), np.float32), "labels": random.integers(0, 4, 8)}


@pytest.mark.parametrize("spec", CHOICES)
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_only_the_chosen_move(spec: str, optimizer: str, tmp_path: Path) -> None:
    chosen = select(model(), spec)
    bundle = export(chosen, tmp_path / "b", optimizer=optimizer)
    assert sorted(p.name for p in bundle.manifest.parameters if p.trainable) == CHOICES[spec]
    engine = create(bundle)
    before = engine.parameters()
    losses = [engine.step(some_batch())["loss"] for _ in range(20)]
    assert losses[-1] < losses[0]
    moved = [name for name, value in engine.parameters().items() if not np.array_equal(value, before[name])]
    assert sorted(moved) == CHOICES[spec]
    engine.load_parameters(before)
    assert all(np.array_equal(v, before[k]) for k, v in engine.parameters().items())


def test_a_bias_that_is_added_belongs_to_the_layer_of_its_product() -> None:
    """As paddle2onnx and tf2onnx write linear layers."""
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w1"], ["h"]),
        onnx.helper.make_node("Add", ["h", "b1"], ["z"]),
        onnx.helper.make_node("MatMul", ["z", "w2"], ["p"]),
        onnx.helper.make_node("Add", ["b2", "p"], ["y"]),
    ]
    weights = {"w1": np.ones((4, 4)), "b1": np.ones(4), "w2": np.ones((4, 3)), "b2": np.ones(3)}
    linear = Model(
        name="linear",
        opset=18,
        nodes=tuple(nodes),
        input="x",
        shape=(4,),
        output="y",
        parameters={name: value.astype(np.float32) for name, value in weights.items()},
        constants={},
    )
    assert sorted(select(linear, "last:1").trainable or ()) == ["b2", "w2"]
    assert sorted(select(linear, "last:2").trainable or ()) == sorted(weights)


def test_the_same_gradient_as_when_all_are_trained(tmp_path: Path) -> None:
    engines = [create(export(select(model(), spec), tmp_path / spec)) for spec in ("all", "conv1.weight")]
    for engine in engines:
        engine.step(some_batch())
    whole, part = (engine.parameters()["conv1.weight"] for engine in engines)
    np.testing.assert_allclose(whole, part, atol=1e-7)


def test_frozen_layers_cost_no_backward_work(tmp_path: Path) -> None:
    def operators(spec: str) -> list[str]:
        bundle = export(select(model(), spec), tmp_path / "b")
        return [n.op_type for n in onnx.load(bundle.path / "train.onnx").graph.node]

    whole, head = operators("all"), operators("last:1")
    assert "ConvTranspose" in whole
    assert "ConvTranspose" not in head
    assert "Resize" not in head  # no pooling is undone
    assert len(head) < 0.5 * len(whole)


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("last:0", "N from 1 to 4"),
        ("last:9", "N from 1 to 4"),
        ("last:x", "N from 1 to 4"),
        ("fc*", "there are: conv1.weight"),
    ],
)
def test_nothing_to_train(spec: str, complaint: str) -> None:
    with pytest.raises(ExportError, match=complaint):
        select(model(), spec)
