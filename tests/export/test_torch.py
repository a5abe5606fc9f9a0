"""Against PyTorch, from equal weights. It is an oracle here, never a dependency of the package."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge.engines.onnx_runtime import OnnxRuntime, create
from edge.interfaces import Array
from edge.plugins import names
from export import zoo
from export.load import load
from export.model import Model
from export.training.update import Update
from export.write import export
from tests.export.directional import graph_of
from tests.export.gradients.test_elementwise import random

torch = pytest.importorskip("torch")
kinks = importlib.import_module("tests.export.kinks")
pytestmark = pytest.mark.oracle


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def images(rows: int) -> tuple[Array, Array]:
    """Digits drawn large on a black 28 x 28 ground, so that pooling windows tie as they do on real images."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.zeros((rows, 1, 28, 28), np.float32)
    x[:, 0, 2:26, 2:26] = digits.images[:rows].repeat(3, axis=1).repeat(3, axis=2) / 16
    return x, digits.target[:rows].astype(np.int64)


def batches(x: Array, y: Array, size: int, steps: int) -> Iterator[tuple[Array, Array]]:
    generator = np.random.default_rng(0)
    for _ in range(steps):
        at = generator.integers(0, len(x), size)
        yield x[at], y[at]


def twin_of_small_cnn(model: Model) -> Any:
    nn = torch.nn
    layers: dict[str, Any] = {
        "conv1": nn.Conv2d(1, 16, 3, padding=1),
        "conv2": nn.Conv2d(16, 32, 3, padding=1),
        "output": nn.Linear(1568, 10),
    }
    for name, layer in layers.items():
        layer.weight.data = torch.from_numpy(model.parameters[f"{name}.weight"].copy())
        layer.bias.data = torch.from_numpy(model.parameters[f"{name}.bias"].copy())
    order = [layers["conv1"], nn.ReLU(), nn.MaxPool2d(2), layers["conv2"], nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*order, nn.Flatten(), layers["output"])


def engine_of(model: Model, folder: Path, optimizer: str | Update = "sgd") -> OnnxRuntime:
    return create(export(model, folder / "bundle", optimizer=optimizer))


def put(twin: Any, parameters: dict[str, Array]) -> None:
    for target, value in zip(twin.parameters(), parameters.values(), strict=True):
        target.data = torch.from_numpy(value.copy()).to(target.dtype)


def test_small_cnn_gradients_at_forty_steps(tmp_path: Path) -> None:
    """Equal weights at every step, so that an error cannot hide in, or grow with, the trajectory.

    The reference is float64, on rows that keep away from the kinks of ReLU and MaxPool. Where the images' common
    background is at a kink, nearly all rows are; such a step is taken, but not judged.
    """
    model = zoo.build("small-cnn", shape=(1, 28, 28), classes=10, seed=3)
    engine, twin = engine_of(model, tmp_path), twin_of_small_cnn(model).double()
    exact, single = kinks.double(model), kinks.twins.Twin(model)
    worst, judged = 0.0, 0
    for xb, yb in batches(*images(512), 64, 200):
        before = engine.parameters()
        clear = kinks.clear_rows(exact, single, before, xb)
        if clear.sum() >= 32:
            x, y = xb[clear][:32], yb[clear][:32]
            put(twin, before)
            twin.zero_grad()
            torch.nn.functional.cross_entropy(twin(torch.from_numpy(x).double()), torch.from_numpy(y)).backward()
            # A large rate makes the step nearly all gradient, so that reading it back loses no digits.
            engine.step({"x": x, "labels": y}, learning_rate=1e6)
            after = engine.parameters()
            for (name, p), theirs in zip(before.items(), twin.parameters(), strict=True):
                ours = (p.astype(np.float64) - after[name]) / 1e6
                expected = theirs.grad.numpy()
                worst = max(worst, float(np.linalg.norm(ours - expected) / np.linalg.norm(expected)))
            engine.load_parameters(before)
            judged += 1
        if judged == 40:
            break
        engine.step({"x": xb[:32], "labels": yb[:32]}, learning_rate=0.05)
    print(f"largest relative difference over {judged} steps and 6 tensors: {worst:.1e}")
    assert judged == 40
    assert worst < 1e-4


def test_small_cnn_losses_over_a_hundred_steps(tmp_path: Path) -> None:
    model = zoo.build("small-cnn", shape=(1, 28, 28), classes=10, seed=4)
    engine, twin = engine_of(model, tmp_path), twin_of_small_cnn(model)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.01)
    worst = 0.0
    for xb, yb in batches(*images(512), 32, 100):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(twin(torch.from_numpy(xb)), torch.from_numpy(yb))
        loss.backward()
        optimizer.step()
        ours = engine.step({"x": xb, "labels": yb}, learning_rate=0.01)["loss"]
        worst = max(worst, abs(ours - loss.item()))
    print(f"largest difference of the loss over 100 steps: {worst:.1e}")
    assert worst < 1e-3


@pytest.mark.parametrize(
    ("optimizer", "theirs", "settings"),
    [
        ("sgd", "SGD", {"lr": 0.1}),
        ("momentum", "SGD", {"lr": 0.05, "momentum": 0.9}),
        ("nesterov", "SGD", {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
        ("adam", "Adam", {"lr": 0.001}),
        ("amsgrad", "Adam", {"lr": 0.001, "amsgrad": True}),
        ("adamw", "AdamW", {"lr": 0.001, "weight_decay": 0.01}),
        ("rmsprop", "RMSprop", {"lr": 0.001}),
    ],
)
@pytest.mark.parametrize("decay", [None, 0.02])
@pytest.mark.parametrize("clip", [None, 0.1])
def test_optimizers_over_fifty_steps(
    optimizer: str, theirs: str, settings: dict[str, Any], decay: float | None, clip: float | None, tmp_path: Path
) -> None:
    """A smooth model (tanh), so that only the update rule can differ.

    Where a gradient is nearly zero, dividing it by its own running average and an epsilon of 1e-8 magnifies its last
    digit, which depends on the order of summation, up to the first digit of the step. So the default is
    compared with PyTorch's, and the steps are taken with 1e-4.
    """
    path = tmp_path / "smooth.onnx"
    torch.manual_seed(int(np.random.default_rng(0).integers(2**31)))
    twin = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    _to_onnx(twin, torch.zeros(2, 64), path)
    engine = engine_of(load(path), tmp_path, Update(optimizer, clip_norm=clip, weight_decay=decay))
    if decay is not None:
        settings = {**settings, "weight_decay": decay}
    put(twin, engine.parameters())
    update = getattr(torch.optim, theirs)(twin.parameters(), **settings)
    epsilon: dict[str, float] = {}
    if "eps" in update.defaults:
        assert engine.bundle.manifest.hyper["epsilon"] == pytest.approx(update.defaults["eps"])
        epsilon["epsilon"] = update.param_groups[0]["eps"] = 1e-4
    generator = np.random.default_rng(1)
    x, y = generator.random((256, 64), np.float32), generator.integers(0, 10, 256)
    for xb, yb in batches(x, y, 32, 50):
        update.zero_grad()
        torch.nn.functional.cross_entropy(twin(torch.from_numpy(xb)), torch.from_numpy(yb)).backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(twin.parameters(), clip)
        update.step()
        engine.step({"x": xb, "labels": yb}, learning_rate=settings["lr"], **epsilon)
    for ours, expected in zip(engine.parameters().values(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def _to_onnx(module: Any, x: Any, path: Path) -> None:
    """The model as ONNX. Written by hand: PyTorch's own exporters need packages that are not ours to pin."""
    from onnx import TensorProto, helper, numpy_helper, save

    first, last = module[0], module[2]
    tensors = {"w1": first.weight, "b1": first.bias, "w2": last.weight, "b2": last.bias}
    graph = helper.make_graph(
        [
            helper.make_node("Gemm", ["x", "w1", "b1"], ["h"], transB=1),
            helper.make_node("Tanh", ["h"], ["t"]),
            helper.make_node("Gemm", ["t", "w2", "b2"], ["y"], transB=1),
        ],
        "smooth",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", x.shape[1]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(v.detach().numpy(), k) for k, v in tensors.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)


@pytest.mark.parametrize("pads", [[0, 0, 1, 0], [1, 0, 1, 1], [0, 2, 1, 0]])
@pytest.mark.parametrize("stride", [1, 2])
def test_asymmetric_pads(pads: list[int], stride: int) -> None:
    """A third opinion where onnx-ad differs."""
    import onnxruntime as ort  # noqa: TID251

    x, w = (random(*s, seed=i).astype(np.float32) for i, s in enumerate([(2, 4, 9, 8), (6, 4, 3, 2)]))
    _, backward = graph_of("Conv", [x, w], wanted=[0, 1], strides=[stride, stride], pads=pads)
    xt, wt = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    top, left, bottom, right = pads
    y = torch.nn.functional.conv2d(torch.nn.functional.pad(xt, (left, right, top, bottom)), wt, stride=stride)
    u = random(*y.shape, seed=9).astype(np.float32)
    y.backward(torch.from_numpy(u))
    session = ort.InferenceSession(backward.SerializeToString(), providers=["CPUExecutionProvider"])
    dx, dw = session.run(None, {"x0": x, "x1": w, "u": u})
    np.testing.assert_allclose(dx, xt.grad.numpy(), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dw, wt.grad.numpy(), rtol=1e-4, atol=1e-4)


ZOO = {
    "linear": (1, 28, 28),
    "mlp": (1, 28, 28),
    "lenet": (1, 28, 28),
    "small-cnn:32": (1, 28, 28),
    "resnet8": (3, 16, 16),
    "resnet20": (3, 16, 16),
    "resnet56": (3, 8, 8),
    "resnet110": (3, 8, 8),
    "gkt-edge": (3, 16, 16),
    "mobilenet-v2": (3, 32, 32),
    "ds-cnn": (1, 49, 10),
    "tcn": (9, 64),
    "gru": (9, 64),
    "tiny-transformer": (9, 64),
}


SMOOTHED = {"resnet20", "resnet56", "resnet110", "gkt-edge", "mobilenet-v2", "ds-cnn"}
"""Models with so many activations that every batch has some within rounding of a kink. They are judged with smooth
activations; the others on batches that keep away from every kink."""
SMOOTH = {"Relu": "Softplus", "Clip": "Tanh"}


def smooth(model: Model) -> Model:
    nodes = [
        onnx.helper.make_node(SMOOTH[n.op_type], n.input[:1], n.output, name=n.name) if n.op_type in SMOOTH else n
        for n in model.nodes
    ]
    return replace(model, nodes=tuple(nodes))


def batch_without_kinks(model: Model, parameters: dict[str, Array], random: np.random.Generator) -> tuple[Array, Array]:
    """Eight random rows that keep every activation of the model away from a kink (one batch in three does, or more)."""
    exact, single = kinks.double(model), kinks.twins.Twin(model)
    for _ in range(100):
        x, y = random.random((8, *model.shape), np.float32), random.integers(0, 10, 8)
        if kinks.clear_rows(exact, single, parameters, x).all():
            return x, y
    raise AssertionError(f"{model.name}: 100 batches in a row have an activation near a kink; see SMOOTHED")


@pytest.mark.parametrize("spec", ZOO)
def test_gradients_and_statistics_of_the_zoo(spec: str, tmp_path: Path) -> None:
    """Every model, from equal weights, at three points: initial, and after steps that move everything.

    Judged against float64, and by all tensors together: normalizations make some gradients zero but for rounding.
    """
    model = zoo.build(spec, shape=ZOO[spec], classes=10, seed=5)
    model = smooth(model) if spec in SMOOTHED else model
    engine, twin = engine_of(model, tmp_path), kinks.double(model)
    random = np.random.default_rng(6)
    worst = 0.0
    for _ in range(3):
        before = engine.parameters()
        x, y = batch_without_kinks(model, before, random)
        twin.load(before)
        for p in twin.parameters():
            p.grad = None
        torch.nn.functional.cross_entropy(twin(torch.from_numpy(x).double()), torch.from_numpy(y)).backward()
        engine.step({"x": x, "labels": y}, learning_rate=1e4)
        after = engine.parameters()
        wrong = right = 0.0
        for name, value in before.items():
            theirs = twin.values[name]
            if model.trains(name):
                ours, expected = (value.astype(np.float64) - after[name]) / 1e4, theirs.grad.numpy()
                wrong, right = wrong + float(((ours - expected) ** 2).sum()), right + float((expected**2).sum())
            elif name.endswith("mean"):
                np.testing.assert_allclose(after[name], theirs.numpy(), atol=1e-5)
        worst = max(worst, (wrong / right) ** 0.5)
        engine.load_parameters(before)
        engine.step({"x": x, "labels": y}, learning_rate=0.02)
    print(f"{spec}: largest relative difference of the gradient {worst:.1e}")
    assert worst < 1e-4


def test_every_zoo_model_is_compared() -> None:
    assert {spec.partition(":")[0] for spec in ZOO} == set(names("export.zoo"))
