"""Checkpoints: properties, the optimizer's moments, nominal ones, and files that are none."""

from pathlib import Path

import numpy as np
import pytest

from edge.ort_training import api
from edge.ort_training.api import CheckpointState, Module, Optimizer
from edge.ort_training.state import Property
from export import artifacts
from export.artifacts import LossType, OptimType
from tests import ort_models as models

BATCH = models.batch()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifacts")
    artifacts.generate_artifacts(
        models.mlp(),
        requires_grad=models.LAST,
        frozen_params=models.FIRST,
        loss=LossType.CrossEntropyLoss,
        optimizer=OptimType.AdamW,
        artifact_directory=folder,
        nominal_checkpoint=True,
    )
    return folder


@pytest.mark.parametrize("value", [-1, 0, 1234567890, -(2**63), -1.0, -0.1, 0.1, 1234.0, "hello", "", True])
def test_a_property_is_saved_and_loaded(value: Property, folder: Path, tmp_path: Path) -> None:
    """Numbers with a point are of single precision, as theirs."""
    state = CheckpointState.load_checkpoint(folder / "checkpoint")
    assert len(state.properties) == 0
    state.properties["property"] = value
    expected = float(np.float32(value)) if isinstance(value, float) else value
    for properties in (state.properties, _saved(state, tmp_path / "c").properties):
        assert "property" in properties
        assert list(properties) == [("property", expected)]
        assert type(properties["property"]) is (int if value is True else type(value))
        assert len(properties) == 1


def test_what_is_no_property(folder: Path) -> None:
    state = CheckpointState.load_checkpoint(folder / "checkpoint")
    for value in ([1], None, 2**63):
        with pytest.raises(TypeError, match="property p: expected an int of 64 bits, a float or a str"):
            state.properties["p"] = value  # type: ignore[assignment]
    assert "p" not in state.properties
    with pytest.raises(KeyError, match="Property p not found"):
        state.properties["p"]


def test_parameters_are_the_same_in_a_new_module(folder: Path, tmp_path: Path) -> None:
    module, optimizer, state = models.trained(folder, api)
    module(*BATCH)
    optimizer.step()
    other = Module(folder / "training_model.onnx", _saved(state, tmp_path / "checkpoint_export.ckpt"))
    np.testing.assert_array_equal(module.get_contiguous_parameters().numpy(), other.get_contiguous_parameters().numpy())


@pytest.mark.parametrize("included", [True, False])
def test_training_goes_on_where_it_ended_if_the_optimizer_was_saved(
    included: bool, folder: Path, tmp_path: Path
) -> None:
    """The learning rate is 0.001 again, as theirs."""
    module, optimizer, state = models.trained(folder, api)
    optimizer.set_learning_rate(0.05)
    for seed in range(3):
        module(*models.batch(seed=seed))
        optimizer.step()
        module.lazy_reset_grad()
    CheckpointState.save_checkpoint(state, tmp_path / "c", include_optimizer_state=included)
    loaded = CheckpointState.load_checkpoint(tmp_path / "c")
    other = Module(folder / "training_model.onnx", loaded)
    resumed = Optimizer(folder / "optimizer_model.onnx", other)
    assert resumed.get_learning_rate() == pytest.approx(0.001)
    resumed.set_learning_rate(0.05)
    for network, update in ((module, optimizer), (other, resumed)):
        network(*BATCH)
        update.step()
    same = np.array_equal(module.get_contiguous_parameters().numpy(), other.get_contiguous_parameters().numpy())
    assert same == included


def test_a_nominal_checkpoint_is_completed_by_a_vector(folder: Path, tmp_path: Path) -> None:
    """It knows shapes and names; nothing else can be done with it before."""
    complete, _, _ = models.trained(folder, api)
    state = CheckpointState.load_checkpoint(folder / "nominal_checkpoint")
    assert (folder / "nominal_checkpoint").stat().st_size < (folder / "checkpoint").stat().st_size
    module = Module(folder / "training_model.onnx", state)
    optimizer = Optimizer(folder / "optimizer_model.onnx", module)
    assert module.get_parameters_size(False) == complete.get_parameters_size(False)
    assert "fc1.weight" in state.parameters
    for attempt in (
        lambda: module(*BATCH),
        optimizer.step,
        module.get_contiguous_parameters,
        lambda: state.parameters["fc1.weight"],
        lambda: list(state.parameters),
    ):
        with pytest.raises(RuntimeError, match="nominal checkpoint and has no values yet"):
            attempt()
    with pytest.raises(RuntimeError, match="trainable_only=False"):
        module.copy_buffer_to_parameters(complete.get_contiguous_parameters(True))
    assert CheckpointState.load_checkpoint(_path(state, tmp_path / "n")).state.nominal
    module.copy_buffer_to_parameters(complete.get_contiguous_parameters(), trainable_only=False)
    assert module(*BATCH) == complete(*BATCH)
    optimizer.step()
    assert not _saved(state, tmp_path / "n").state.nominal


def test_files_that_are_no_checkpoint(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no checkpoint at"):
        CheckpointState.load_checkpoint(tmp_path / "none")
    content = (folder / "checkpoint").read_bytes()
    for name, damaged in (("cut", content[:-5]), ("empty", b""), ("other", b"ORTC" * 40)):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(RuntimeError, match=f"{name} is not a checkpoint of export.artifacts, or is damaged"):
            CheckpointState.load_checkpoint(tmp_path / name)
    with pytest.raises(TypeError, match="Invalid argument for CheckpointState"):
        CheckpointState("checkpoint")  # type: ignore[arg-type]


def _path(state: CheckpointState, path: Path) -> Path:
    CheckpointState.save_checkpoint(state, path)
    return path


def _saved(state: CheckpointState, path: Path) -> CheckpointState:
    return CheckpointState.load_checkpoint(_path(state, path))
