"""Our training artifacts and API against ONNX Runtime's own: the same calls, the same batches, the same numbers."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edge.ort_training import api as ours
from edge.training_package import open_package
from export import artifacts
from tests import ort_models as models

open_package()
from onnxruntime.training import api as theirs  # noqa: E402, TID251
from onnxruntime.training import artifacts as official  # noqa: E402, TID251

STEPS = 10


def both(folder: Path, model: onnx.ModelProto, **arguments: Any) -> tuple[Any, Any]:
    """(module, optimizer, state) of ours and of theirs."""
    loss, optimizer = arguments.pop("loss"), arguments.pop("optimizer")
    pairs = []
    for name, package, module in (("ours", artifacts, ours), ("theirs", official, theirs)):
        (folder / name).mkdir()
        package.generate_artifacts(
            model,
            loss=package.LossType[loss],
            optimizer=package.OptimType[optimizer],
            artifact_directory=folder / name,
            **arguments,
        )
        pairs.append(models.trained(folder / name, module))
    return pairs[0], pairs[1]


def targets(loss: str) -> tuple[Any, Any]:
    x, y = models.batch()
    return (x, y) if loss == "CrossEntropyLoss" else (x, np.eye(4, dtype=np.float32)[y])


@pytest.mark.parametrize("loss", ["CrossEntropyLoss", "MSELoss", "BCEWithLogitsLoss", "L1Loss"])
@pytest.mark.parametrize(("optimizer", "rate"), [("SGD", 0.1), ("AdamW", 0.003)])
def test_the_same_losses_for_ten_steps(loss: str, optimizer: str, rate: float, tmp_path: Path) -> None:
    pairs = both(tmp_path, models.mlp(), requires_grad=models.PARAMETERS, loss=loss, optimizer=optimizer)
    losses: list[list[float]] = []
    for module, update, _ in pairs:
        update.set_learning_rate(rate)
        losses.append([])
        for seed in range(STEPS):
            x, y = models.batch(seed=seed)
            target = y if loss == "CrossEntropyLoss" else np.eye(4, dtype=np.float32)[y]
            losses[-1].append(float(module(x, target)))
            update.step()
            module.lazy_reset_grad()
        losses[-1].append(float(module.eval()(*targets(loss))))
    worst = np.abs(np.subtract(losses[0], losses[1])).max()
    print(f"{loss} {optimizer}: largest difference of the loss {worst:.1e}")
    assert worst < 1e-5
    assert losses[0][0] != losses[0][-1]


def test_gradients_accumulate_alike_and_parameters_are_in_the_same_order(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"requires_grad": models.LAST, "frozen_params": models.FIRST}
    pairs = both(tmp_path, models.mlp(), loss="CrossEntropyLoss", optimizer="SGD", **arguments)
    views = []
    for module, update, state in pairs:
        for seed in range(3):
            module(*models.batch(seed=seed))
        summed = state.parameters["fc2.weight"].grad.copy()
        update.step()
        module(*models.batch(seed=3))
        module.lazy_reset_grad()
        module(*models.batch(seed=4))
        views.append(
            {
                "sum of three": summed,
                "after a reset": state.parameters["fc2.weight"].grad,
                "all": module.get_contiguous_parameters().numpy(),
                "trained": module.get_contiguous_parameters(trainable_only=True).numpy(),
                "sizes": np.array([module.get_parameters_size(), module.get_parameters_size(False)]),
            }
        )
    for name, value in views[0].items():
        np.testing.assert_allclose(value, views[1][name], rtol=0, atol=1e-6, err_msg=name)
    assert [n for n, _ in pairs[0][2].parameters] == [n for n, _ in pairs[1][2].parameters]
    assert pairs[0][0].input_names() == pairs[1][0].input_names()


def test_a_schedule_whose_two_counts_their_binding_exchanges(tmp_path: Path) -> None:
    """1.19.2 takes the total for the warm-up and the other way round; ours does what its documentation says."""
    pairs = both(tmp_path, models.mlp(), requires_grad=models.PARAMETERS, loss="CrossEntropyLoss", optimizer="AdamW")
    rates: list[list[float]] = []
    for (module, update, _), package, counts in zip(pairs, (ours, theirs), ((3, 8), (8, 3)), strict=True):
        scheduler = package.LinearLRScheduler(update, *counts, 0.2)
        rates.append([update.get_learning_rate()])
        for seed in range(STEPS):
            module(*models.batch(seed=seed))
            update.step()
            scheduler.step()
            rates[-1].append(update.get_learning_rate())
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-6)
    assert rates[0][3] == pytest.approx(0.2)


def test_moments_and_steps_go_on_alike_after_a_checkpoint(tmp_path: Path) -> None:
    pairs = both(tmp_path, models.mlp(), requires_grad=models.PARAMETERS, loss="CrossEntropyLoss", optimizer="AdamW")
    losses: list[list[float]] = []
    for (module, update, state), package, name in zip(pairs, (ours, theirs), ("ours", "theirs"), strict=True):
        for seed in range(3):
            module(*models.batch(seed=seed))
            update.step()
            module.lazy_reset_grad()
        package.CheckpointState.save_checkpoint(state, str(tmp_path / name / "checkpoint"), True)
        module, update, _ = models.trained(tmp_path / name, package)
        assert update.get_learning_rate() == pytest.approx(0.001)
        losses.append([])
        for seed in range(3):
            losses[-1].append(float(module(*models.batch(seed=seed))))
            update.set_learning_rate(0.05)
            update.step()
            module.lazy_reset_grad()
    np.testing.assert_allclose(losses[0], losses[1], rtol=0, atol=1e-5)


def test_running_statistics_move_alike(tmp_path: Path) -> None:
    """Their evaluation model of a normalization by the batch cannot be loaded, so both only train."""
    random = np.random.default_rng(0)
    x, labels = random.normal(2, 3, size=(32, 2, 6)).astype(np.float32), np.arange(32) % 3
    outcomes = []
    for package, module in ((artifacts, ours), (official, theirs)):
        package.generate_artifacts(
            models.normalized(14),
            requires_grad=["filters", "a", "b", "w"],
            frozen_params=["mean", "var"],
            loss=package.LossType.CrossEntropyLoss,
            optimizer=package.OptimType.SGD,
            artifact_directory=tmp_path,
        )
        state = module.CheckpointState.load_checkpoint(str(tmp_path / "checkpoint"))
        network = module.Module(str(tmp_path / "training_model.onnx"), state)
        update = module.Optimizer(str(tmp_path / "optimizer_model.onnx"), network)
        update.set_learning_rate(0.05)
        losses = []
        for _ in range(4):
            losses.append(float(network(x, labels)))
            update.step()
            network.lazy_reset_grad()
        outcomes.append([losses, *(state.parameters[name].data.copy() for name in ("mean", "var"))])
    for mine, other in zip(*outcomes, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-5)
