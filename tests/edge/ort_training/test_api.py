"""What ONNX Runtime's own tests of its Python bindings ask of the training API, asked of ours; see also test_state."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort  # noqa: TID251 - its values are what the API takes and gives
import pytest

from edge.interfaces import Array
from edge.ort_training import api
from edge.ort_training import optimizer as optimizer_file
from edge.ort_training.api import CheckpointState, LinearLRScheduler, Module, Optimizer
from export import artifacts
from export.artifacts import LossType, OptimType
from tests import ort_models as models

OPTIMIZERS = list(OptimType)
BATCH = models.batch()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[OptimType, Path]:
    """Artifacts of the MLP, all of it trained."""
    folders = {}
    for optimizer in OPTIMIZERS:
        folders[optimizer] = tmp_path_factory.mktemp(optimizer.name)
        generate(folders[optimizer], optimizer=optimizer)
    return folders


@pytest.fixture
def folder(folders: dict[OptimType, Path]) -> Path:
    return folders[OptimType.AdamW]


def generate(folder: Path, **arguments: Any) -> None:
    """Artifacts of the MLP; those of a layer that is trained behind one that is not, where nothing else is said."""
    chosen: dict[str, Any] = {"requires_grad": models.PARAMETERS, "loss": LossType.CrossEntropyLoss}
    artifacts.generate_artifacts(models.mlp(), artifact_directory=folder, **(chosen | arguments))


def last_layer(folder: Path) -> tuple[Module, Optimizer, CheckpointState]:
    """Only the second layer is trained."""
    generate(folder, requires_grad=models.LAST, frozen_params=models.FIRST, optimizer=OptimType.AdamW)
    module, optimizer, state = models.trained(folder, api)
    return module, optimizer, state


def reference(weights: dict[str, Array], x: Array, labels: Array) -> float:
    """The cross-entropy in float64."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    hidden = np.maximum(x @ w["fc1.weight"].T + w["fc1.bias"], 0)
    logits = hidden @ w["fc2.weight"].T + w["fc2.bias"]
    return float(np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(len(x)), labels]))


@pytest.mark.parametrize("values", [np.asarray, ort.OrtValue.ortvalue_from_numpy], ids=["arrays", "OrtValues"])
def test_training_and_evaluation_give_the_loss(values: Any, folder: Path) -> None:
    """In the form in which the batch came."""
    module, _, _ = models.trained(folder, api)
    expected = reference(models.weights(models.mlp()), *BATCH)
    for mode in (module.train(), module.eval()):
        loss = mode(*(values(v) for v in BATCH))
        assert isinstance(loss, np.ndarray if values is np.asarray else ort.OrtValue)
        assert float(loss if isinstance(loss, np.ndarray) else loss.numpy()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("optimizer_type", OPTIMIZERS)
def test_a_step_of_the_optimizer_moves_the_parameters(
    optimizer_type: OptimType, folders: dict[OptimType, Path]
) -> None:
    module, optimizer, _ = models.trained(folders[optimizer_type], api)
    before = module.get_contiguous_parameters()
    loss = module(*BATCH)
    optimizer.step()
    assert not np.array_equal(before.numpy(), module.get_contiguous_parameters().numpy())
    assert module(*BATCH) < loss


@pytest.mark.parametrize("optimizer_type", OPTIMIZERS)
def test_the_learning_rate_is_single_precision(optimizer_type: OptimType, folders: dict[OptimType, Path]) -> None:
    _, optimizer, _ = models.trained(folders[optimizer_type], api)
    assert optimizer.get_learning_rate() == float(np.float32(0.001))
    optimizer.set_learning_rate(0.5)
    assert optimizer.get_learning_rate() == 0.5


@pytest.mark.parametrize(
    ("counts", "factors"),
    [
        ((1, 2), [0, 1, 0, 0]),
        ((2, 6), [0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0]),
        ((0, 4), [1, 0.75, 0.5, 0.25, 0]),
        ((2, 2), [0, 0.5, 0, 0]),
    ],
)
def test_a_schedule_rises_and_falls_in_a_line(counts: tuple[int, int], factors: list[float], folder: Path) -> None:
    module, optimizer, _ = models.trained(folder, api)
    scheduler = LinearLRScheduler(optimizer, *counts, 0.2)
    rates = [optimizer.get_learning_rate()]
    module(*BATCH)
    for _ in factors[1:]:
        optimizer.step()
        scheduler.step()
        rates.append(optimizer.get_learning_rate())
    np.testing.assert_allclose(rates, 0.2 * np.array(factors), rtol=1e-6)


def test_adamw_is_its_formula_whatever_the_blocks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64, over several blocks of the vector, of which the last is shorter."""
    monkeypatch.setattr(optimizer_file, "BLOCK", 32)
    module, optimizer, state = models.trained(folder, api)
    p = module.get_contiguous_parameters().numpy().astype(np.float64)
    m = v = np.zeros_like(p)
    optimizer.set_learning_rate(0.01)
    for t in range(1, 5):
        module(*models.batch(seed=t))
        g = np.concatenate([state.parameters[name].grad.ravel() for name in models.PARAMETERS]).astype(np.float64)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        p = p - 0.01 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (np.sqrt(v) + 1e-6)
        optimizer.step()
        module.lazy_reset_grad()
    assert len(p) % 32
    np.testing.assert_allclose(module.get_contiguous_parameters().numpy(), p, rtol=0, atol=2e-5)


def test_gradients_add_up_until_they_are_reset(folder: Path) -> None:
    """And stay when they are; the next step replaces them."""
    module, optimizer, state = models.trained(folder, api)
    gradients = []
    for seed in (0, 1):
        module.lazy_reset_grad()
        module(*models.batch(seed=seed))
        gradients.append(state.parameters["fc1.weight"].grad.copy())
    module(*models.batch(seed=0))
    both = state.parameters["fc1.weight"].grad.copy()
    np.testing.assert_allclose(both, gradients[0] + gradients[1], atol=1e-7)
    optimizer.step()
    module.eval()(*BATCH)
    module.train().lazy_reset_grad()
    np.testing.assert_array_equal(state.parameters["fc1.weight"].grad, both)
    module.lazy_reset_grad()
    module(*models.batch(seed=1))
    assert not np.allclose(state.parameters["fc1.weight"].grad, both)


@pytest.mark.parametrize("trainable_only", [True, False])
def test_parameters_go_out_and_in_as_one_vector(trainable_only: bool, tmp_path: Path) -> None:
    module, optimizer, state = last_layer(tmp_path)
    weights = models.weights(models.mlp())
    names = models.LAST if trainable_only else models.PARAMETERS
    start = module.get_contiguous_parameters(trainable_only=trainable_only)
    np.testing.assert_array_equal(start.numpy(), np.concatenate([weights[name].ravel() for name in names]))
    assert module.get_parameters_size(trainable_only) == start.shape()[0]
    module(*BATCH)
    optimizer.step()
    np.testing.assert_array_equal(state.parameters["fc1.weight"].data, weights["fc1.weight"])
    assert not np.array_equal(start.numpy(), module.get_contiguous_parameters(trainable_only).numpy())
    module.copy_buffer_to_parameters(start, trainable_only=trainable_only)
    np.testing.assert_array_equal(start.numpy(), module.get_contiguous_parameters(trainable_only).numpy())
    with pytest.raises(RuntimeError, match=r"expected a float32 vector of \d+, got float32 \[\d+\]"):
        module.copy_buffer_to_parameters(start, trainable_only=not trainable_only)


@pytest.mark.parametrize(("output", "inputs"), [("output-0", 5), ("active", 3)])
def test_the_trained_model_comes_out(output: str, inputs: int, folder: Path, tmp_path: Path) -> None:
    """As a whole, or up to a value in the middle; with its parameters inside, and only those it needs."""
    module, optimizer, state = models.trained(folder, api)
    for _ in range(3):
        module(*BATCH)
        optimizer.step()
    module.export_model_for_inferencing(tmp_path / "model.onnx", [output])
    proto = onnx.load(tmp_path / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [i.name for i in proto.graph.input] == ["input-0"]
    assert len(proto.graph.initializer) == inputs - 1
    (outputs,) = ort.InferenceSession(tmp_path / "model.onnx").run(None, {"input-0": BATCH[0]})
    w = {name: parameter.data for name, parameter in state.parameters}
    hidden = np.maximum(BATCH[0] @ w["fc1.weight"].T + w["fc1.bias"], 0)
    expected = hidden if output == "active" else hidden @ w["fc2.weight"].T + w["fc2.bias"]
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_names_of_inputs_and_outputs_are_the_graphs(folder: Path) -> None:
    module, _, _ = models.trained(folder, api)
    graph = onnx.load(folder / "training_model.onnx").graph
    assert module.input_names() == [i.name for i in graph.input][:2] == ["input-0", "labels"]
    assert module.output_names() == [o.name for o in graph.output][:1] == ["loss"]
    assert module.eval().input_names() == ["input-0", "labels"]


def test_parameters_are_read_and_written_by_name(tmp_path: Path) -> None:
    module, _, state = last_layer(tmp_path)
    weights = models.weights(models.mlp())
    assert [name for name, _ in state.parameters] == sorted(weights)
    assert len(state.parameters) == len(weights)
    for name, value in weights.items():
        parameter = state.parameters[name]
        assert (parameter.name, parameter.requires_grad) == (name, name in models.LAST)
        np.testing.assert_array_equal(parameter.data, value)
        assert (parameter.grad is None) == (name in models.FIRST)
        assert name in models.FIRST or not np.any(parameter.grad)
    loss = module(*BATCH)
    assert all(np.any(state.parameters[name].grad) for name in models.LAST)
    assert all(state.parameters[name].grad is None for name in models.FIRST)
    state.parameters["fc1.weight"].data = np.ones_like(weights["fc1.weight"])
    np.testing.assert_array_equal(state.parameters["fc1.weight"].data, 1)
    assert module(*BATCH) != loss
    state.parameters["fc1.weight"] = weights["fc1.weight"]
    assert module(*BATCH) == loss
    state.parameters["fc1.weight"].data[...] = 0  # the value itself, as theirs
    assert module(*BATCH) != loss
    assert repr(state.parameters["fc2.bias"]) == "Parameter(name=fc2.bias, requires_grad=True)"
    with pytest.raises(KeyError, match="Parameter other not found"):
        state.parameters["other"]
    with pytest.raises(RuntimeError, match=r"fc2.bias is float32 \[4\]; it was given float64 \[4\]"):
        state.parameters["fc2.bias"] = np.zeros(4)


def test_texts_are_inputs_too(tmp_path: Path) -> None:
    """The runtime turns them into numbers, which has no gradient and needs none."""
    weight = onnx.numpy_helper.from_array(np.eye(4, 2, dtype=np.float32), "weight")
    nodes = [
        onnx.helper.make_node("Cast", ["text"], ["x"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("MatMul", ["x", "weight"], ["y"]),
    ]
    proto = models.model(nodes, {"text": [1, 4]}, ["y"], [weight], element=onnx.TensorProto.STRING)
    artifacts.generate_artifacts(
        proto,
        requires_grad=["weight"],
        loss=LossType.CrossEntropyLoss,
        optimizer=OptimType.AdamW,
        artifact_directory=tmp_path,
    )
    module, _, state = models.trained(tmp_path, api)
    texts, labels = np.array([["1.0", "2.0", "3.0", "4.0"]], dtype=str), np.array([1])
    loss = module(texts, labels)
    assert float(loss) == pytest.approx(np.log(1 + np.exp(-1)), rel=1e-5)
    assert float(module.eval()(texts, labels)) == float(loss)
    assert np.any(state.parameters["weight"].grad)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((BATCH[0],), r"expected 2 inputs \(input-0, labels\), got 1"),
        ((BATCH[0][:, :3], BATCH[1]), r"training_model\.onnx: "),
        ((BATCH[0].astype(np.float64), BATCH[1]), r"training_model\.onnx: "),
    ],
)
def test_a_batch_that_does_not_fit_is_a_runtime_error(inputs: tuple[Array, ...], message: str, folder: Path) -> None:
    module, _, state = models.trained(folder, api)
    with pytest.raises(RuntimeError, match=message):
        module(*inputs)
    module(*BATCH)
    first = state.parameters["fc1.bias"].grad.copy()
    module.lazy_reset_grad()
    module(*BATCH)
    np.testing.assert_array_equal(state.parameters["fc1.bias"].grad, first)


def test_what_the_module_cannot_do_is_said(folder: Path, tmp_path: Path) -> None:
    state = CheckpointState.load_checkpoint(folder / "checkpoint")
    with pytest.raises(RuntimeError, match="device 'cuda:0': training runs on the CPU only"):
        Module(folder / "training_model.onnx", state, device="cuda:0")
    module = Module(folder / "training_model.onnx", state)
    with pytest.raises(RuntimeError, match="give Module its eval_model_uri"):
        module.eval()(*BATCH)
    with pytest.raises(RuntimeError, match="give Module its eval_model_uri"):
        module.export_model_for_inferencing(tmp_path / "m.onnx", ["output-0"])
    module = Module(folder / "training_model.onnx", state, folder / "eval_model.onnx")
    with pytest.raises(
        RuntimeError, match=r"there is no value 'other'; its values are .*active, hidden, loss, output-0"
    ):
        module.export_model_for_inferencing(tmp_path / "m.onnx", ["other"])
    assert not (tmp_path / "m.onnx").exists()
    onnx.save(models.mlp(), tmp_path / "plain.onnx")
    with pytest.raises(RuntimeError, match=r"plain\.onnx is no training artifact of ours"):
        Module(tmp_path / "plain.onnx", state)
    generate(tmp_path, requires_grad=models.LAST)
    with pytest.raises(RuntimeError, match=r"has a parameter fc1\.weight, of which the checkpoint has nothing"):
        Module(folder / "training_model.onnx", CheckpointState.load_checkpoint(tmp_path / "checkpoint"))
