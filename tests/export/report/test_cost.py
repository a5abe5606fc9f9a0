"""Costs against closed forms, and freezing shown to save what it should."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export import zoo
from export.model import Model
from export.report.cost import Cost, cost
from export.training.assemble import assemble
from export.training.update import Update
from export.transforms.lora import adapt
from export.transforms.split import split
from export.transforms.trainable import select


def of(model: Model, batch: int = 1, objective: str = "cross_entropy") -> Cost:
    return cost(assemble(model, objective=objective).train, {"N": batch, "R": batch, "rows": batch})


def test_multilayer_perceptron() -> None:
    """A weight's gradient costs what its layer does forward; so does an input's, which the first layer has none of."""
    macs = of(zoo.build("mlp:300-100", shape=(784,), classes=10), batch=4).macs
    forward = 4 * (784 * 300 + 300 * 100 + 100 * 10)
    given = forward - 4 * 784 * 300
    assert macs == {"forward": forward, "input gradient": given, "weight gradient": forward, "update": 0}


def test_convolutions() -> None:
    macs = of(zoo.build("small-cnn", shape=(1, 28, 28), classes=10)).macs
    first, second, last = 16 * 9 * 28 * 28, 32 * 16 * 9 * 14 * 14, 1568 * 10
    assert macs["forward"] == first + second + last
    assert macs["weight gradient"] == first + second + last
    assert macs["input gradient"] == second + last


def test_recurrent() -> None:
    T, I, H, K = 64, 9, 64, 6
    macs = of(zoo.build("gru", shape=(I, T), classes=K)).macs
    assert macs["forward"] == T * 3 * H * (I + H) + H * K


def test_fedgkt_macs() -> None:
    """Algorithms 5, G1: 9.62, 87.2 and 167.4 million a sample, ratios 9.07 and 17.41."""
    macs = {}
    for name in ("gkt-edge", "resnet56", "resnet110"):
        model = zoo.build(name, shape=(3, 32, 32), classes=10)
        macs[name] = sum(cost(assemble(model).predict, {"N": 1}).macs.values())
    assert macs["gkt-edge"] == 9_618_048
    assert [round(macs[n] / macs["gkt-edge"], 2) for n in ("resnet56", "resnet110")] == [9.07, 17.41]
    device, server = split(zoo.build("resnet56", shape=(3, 32, 32), classes=10), "stem")
    assert of(server).macs["forward"] == macs["resnet56"] - 3 * 16 * 9 * 32 * 32
    assert of(device).macs["forward"] == 3 * 16 * 9 * 32 * 32 + 16 * 10


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adamw"])
@pytest.mark.parametrize("more", [{}, {"clip_norm": 1.0}, {"accumulate": True}], ids=str)
def test_gradients_are_told_apart_whatever_becomes_of_them(optimizer: str, more: dict[str, Any]) -> None:
    """By closed form: weights cost what the forward pass does, inputs that but for the first layer."""
    model = zoo.build("resnet8", shape=(3, 16, 16), classes=10)
    graph = assemble(model, optimizer=Update(optimizer, **more)).train
    macs = cost(graph, {"N": 2, "rows": 2}).macs
    stem, pooled = 2 * 16 * 27 * 16 * 16, 2 * 64 * 4 * 4
    assert macs["weight gradient"] == macs["forward"]
    assert macs["input gradient"] == macs["forward"] - stem + pooled  # a mean's gradient is an outer product


def test_the_batch_scales_everything_but_parameters() -> None:
    model = zoo.build("resnet8", shape=(3, 16, 16), classes=10)
    one, eight = of(model), of(model, 8)
    assert eight.macs["forward"] == 8 * one.macs["forward"]
    assert one.activations < eight.activations < 8 * one.activations


@pytest.mark.parametrize(("spec", "share"), [("last:1", 0.4), ("bias-only", 0.7), ("lora:2", 0.8)])
def test_freezing_saves(spec: str, share: float) -> None:
    model = zoo.build("small-cnn:64", shape=(1, 28, 28), classes=10)
    whole, part = of(model, 8), of(select(model, spec), 8)
    assert sum(part.macs.values()) < share * sum(whole.macs.values())
    assert part.activations <= whole.activations


def test_last_layer_only_costs_no_more_than_its_own_backward() -> None:
    macs = of(select(zoo.build("mlp:64", shape=(100,), classes=10), "last:1"), batch=3).macs
    assert macs["weight gradient"] == 3 * 64 * 10
    assert macs["input gradient"] == 0


def test_activations_of_a_chain() -> None:
    """x -> h (N, 1000) -> relu -> logits: the ReLU takes h's place, and its mask and gradient come later."""
    spent = of(select(zoo.build("mlp:1000", shape=(10,), classes=2), "last:1"), batch=5)
    assert 5 * 1000 * 4 <= spent.activations < 2 * 5 * 1000 * 4


def test_adapters_count_as_what_they_are() -> None:
    plain = zoo.build("mlp:300", shape=(784,), classes=10)
    extra = of(adapt(plain, 2)).macs["forward"] - of(plain).macs["forward"]
    assert extra == 2 * (784 + 300) + 2 * (300 + 10)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        ("mlp", (64,)),
        ("lenet", (1, 28, 28)),
        ("resnet8", (3, 32, 32)),
        ("resnet20", (3, 32, 32)),
        ("tcn", (6, 128)),
        ("tiny-transformer", (6, 128)),
    ],
)
def test_an_outside_counter_counts_the_same(spec: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """onnx-tool on the same graph, within a hundredth; it counts adding a bias too, which is taken off."""
    import onnx_tool

    proto = assemble(zoo.build(spec, shape=shape, classes=10)).predict
    onnx.save(proto, tmp_path / "model.onnx")
    graph = onnx_tool.Model(str(tmp_path / "model.onnx"), {"verbose": False}).graph
    kept = {value.name for value in proto.graph.initializer}
    feed = {
        value.name: np.zeros([d.dim_value or 1 for d in value.type.tensor_type.shape.dim], np.float32)
        for value in proto.graph.input
        if value.name not in kept
    }
    graph.shape_infer(feed)
    graph.profile()
    theirs = biases = 0
    for node in graph.nodemap.values():
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            theirs += int(np.ravel(node.macs)[0])
            biases += int(np.prod(graph.tensormap[node.output[0]].shape)) if len(node.input) > 2 else 0
    ours = sum(cost(proto, {"N": 1}).macs.values())
    assert abs(theirs - biases - ours) <= 0.01 * ours
