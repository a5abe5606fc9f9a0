"""Training artifacts: which files, of which models, and what is refused before any of them is written."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge.interfaces import Array
from edge.ort_training import api
from export import artifacts
from export.artifacts import LossType, OptimType
from tests import ort_models as models

FILES = ["checkpoint", "eval_model.onnx", "optimizer_model.onnx", "training_model.onnx"]
TRAIN: dict[str, Any] = {"requires_grad": models.PARAMETERS, "loss": LossType.MSELoss}


def generate(folder: Path, model: onnx.ModelProto, **arguments: Any) -> Any:
    """(module, optimizer, state) over artifacts with SGD."""
    artifacts.generate_artifacts(model, optimizer=OptimType.SGD, artifact_directory=folder, **arguments)
    return models.trained(folder, api)


def value(name: str, *shape: int) -> onnx.TensorProto:
    random = np.random.default_rng(len(name))
    return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)


def test_the_files_are_theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the current folder unless another is named; a model may be a file."""
    monkeypatch.chdir(tmp_path)
    onnx.save(models.mlp(), "model.onnx")
    artifacts.generate_artifacts("model.onnx", **TRAIN, optimizer=OptimType.AdamW)
    artifacts.generate_artifacts(models.mlp(), **TRAIN, prefix="p_", nominal_checkpoint=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    prefixed = ["p_" + name for name in (*FILES, "nominal_checkpoint") if name != "optimizer_model.onnx"]
    assert names == sorted([*FILES, *prefixed, "model.onnx"])
    for name in names:
        if name.endswith(".onnx"):
            onnx.checker.check_model(onnx.load(name), full_check=True)


def test_graphs_hold_standard_operators_only(tmp_path: Path) -> None:
    generate(tmp_path, models.mlp(), **TRAIN)
    for name in FILES[1:]:
        proto = onnx.load(tmp_path / name)
        assert [o.domain for o in proto.opset_import] == [""]
        assert {node.domain for node in proto.graph.node} == {""}


@pytest.mark.parametrize("loss", LossType)
def test_a_gradient_is_the_slope_of_the_loss(loss: LossType, tmp_path: Path) -> None:
    """Along a direction in which all parameters move."""
    module, _, state = generate(tmp_path, models.mlp(), requires_grad=models.PARAMETERS, loss=loss)
    x, labels = models.batch()
    target = labels if loss is LossType.CrossEntropyLoss else np.eye(4, dtype=np.float32)[labels]
    module(x, target)
    slope = float(sum(np.square(parameter.grad).sum() for _, parameter in state.parameters))
    start = module.get_contiguous_parameters().numpy()
    losses = []
    for length in (-1e-3, 1e-3):
        for _, parameter in state.parameters:
            parameter.data = parameter.data + np.float32(length) * parameter.grad
        losses.append(float(module.eval()(x, target)))
        _restore(state, start)
    assert (losses[1] - losses[0]) / 2e-3 == pytest.approx(slope, rel=2e-2)


def _restore(state: Any, start: Array) -> None:
    at = 0
    for name in models.PARAMETERS:
        parameter = state.parameters[name]
        parameter.data = start[at : at + parameter.data.size].reshape(parameter.data.shape)
        at += parameter.data.size


def test_other_values_beside_the_loss(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"additional_output_names": ["output-0", "active"], "loss_input_names": ["active"]}
    module, _, state = generate(tmp_path, models.mlp(), **(TRAIN | arguments | {"requires_grad": models.FIRST}))
    x, _ = models.batch()
    assert module.output_names() == ["loss", "output-0", "active"]
    for mode in (module.train(), module.eval()):
        loss, logits, active = mode(x, np.zeros((16, 8), np.float32))
        assert (logits.shape, active.shape) == ((16, 4), (16, 8))
        assert float(loss) == pytest.approx(float(np.mean(active**2)), rel=1e-5)
    assert len(state.parameters) == 2  # the others are constants


def test_a_model_with_a_loss_of_its_own(tmp_path: Path) -> None:
    """Its second input is the target, and its weight is tied: both layers add to one gradient."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("MatMul", ["h", "w"], ["y"]),
        helper.make_node("Sub", ["y", "wanted"], ["e"]),
        helper.make_node("Mul", ["e", "e"], ["s"]),
        helper.make_node("ReduceMean", ["s"], ["own"], keepdims=0),
    ]
    proto = models.model(nodes, {"x": ["N", 3], "wanted": ["N", 3]}, [], [value("w", 3, 3)])
    proto.graph.output.append(helper.make_tensor_value_info("own", TensorProto.FLOAT, []))
    module, optimizer, _ = generate(tmp_path, proto, requires_grad=["w"])
    assert (module.input_names(), module.output_names()) == (["x", "wanted"], ["own"])
    x = np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)
    optimizer.set_learning_rate(0.01)
    losses = []
    for _ in range(20):
        losses.append(float(module(x, x)))
        optimizer.step()
        module.lazy_reset_grad()
    assert losses[-1] < 0.7 * losses[0]


def test_dropout_and_normalization_by_the_batch(tmp_path: Path) -> None:
    """Training draws masks and moves the running statistics, which are parameters that nobody trains."""
    dropout = helper.make_node("Dropout", ["n", "half", "yes"], ["d"], name="drop")
    proto = models.normalized(18, dropout)
    module, _, state = generate(
        tmp_path, proto, requires_grad=["filters", "a", "b", "w"], loss=LossType.CrossEntropyLoss
    )
    assert module.input_names() == ["x", "labels"]
    x = np.random.default_rng(0).normal(2, 3, size=(32, 2, 6)).astype(np.float32)
    labels = np.arange(32) % 3
    before = float(module.eval()(x, labels))
    assert float(module(x, labels)) == before
    losses = {float(module.train()(x, labels)) for _ in range(3)}
    assert len(losses) == 3
    assert state.parameters["mean"].data.all()
    assert not state.parameters["mean"].requires_grad
    assert float(module.eval()(x, labels)) != before


MLP = models.mlp()
REFUSED: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"requires_grad": None}, RuntimeError, "requires_grad names nothing to train; .* are fc1.weight, fc1.bias, fc2"),
    ({"requires_grad": ["other"]}, RuntimeError, "the model has no initializer other"),
    (
        {"frozen_params": ["fc1.bias"]},
        RuntimeError,
        "cannot be frozen and require a gradient at the same time: fc1.bias",
    ),
    ({"loss": "mse"}, RuntimeError, "Unknown loss provided <class 'str'>"),
    ({"loss": None}, RuntimeError, "loss=None means that 'output-0' is the loss; it is .*, no scalar"),
    ({"optimizer": "SGD"}, TypeError, "Unknown optimizer provided <class 'str'>"),
    ({"additional_output_names": ["other"]}, LookupError, "The provided name other is not a graph value info"),
    ({"loss_input_names": ["other"]}, LookupError, "Could not find input or output with name other"),
    ({"loss_input_names": ["output-0", "a", "b"]}, RuntimeError, "MSELoss takes an output and a target"),
    ({"loss_input_names": ["active"]}, RuntimeError, "the loss does not depend on fc2.weight, fc2.bias: leave it out"),
    ({"ort_format": True}, RuntimeError, "ort_format"),
    ({"custom_op_library": "lib.so"}, RuntimeError, "custom_op_library"),
    ({"artifact_directory": "none"}, FileNotFoundError, "artifact_directory none does not exist"),
    ({"model": "none.onnx"}, RuntimeError, "no ONNX file at none.onnx"),
    ({"model": 3}, RuntimeError, "expected an onnx.ModelProto or the path"),
]


@pytest.mark.parametrize(("arguments", "error", "message"), REFUSED)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    arguments: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"model": MLP, "artifact_directory": tmp_path} | TRAIN | arguments
    with pytest.raises(error, match=message):
        artifacts.generate_artifacts(**given)
    assert not list(tmp_path.iterdir())


def test_an_operator_without_a_gradient_is_named(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Det", ["h"], ["y"], name="odd")]
    proto = models.model(nodes, {"x": ["N", 3, 3]}, ["y"], [value("w", 3, 3)])
    with pytest.raises(RuntimeError, match="no gradient rule for 'Det'"):
        generate(tmp_path, proto, requires_grad=["w"], loss=LossType.MSELoss)
