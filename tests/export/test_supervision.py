"""Losses that learn from labels, and distillation of every task: values and gradients against central differences and,
marked `oracle`, against PyTorch's losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from edge.interfaces import Array
from edge.task import TASKS
from export.errors import ExportError
from export.graph.builder import GraphBuilder
from export.objectives import Rows, parse, supervision, task_of
from export.training.autodiff import gradients
from tests.export.directional import model_of


@dataclass(frozen=True)
class Case:
    """A term with what it reads. shape: of the logits."""

    objective: str
    task: str
    shape: tuple[int, ...]
    inputs: Callable[[np.random.Generator], Mapping[str, Array]]
    torch: Callable[[Any, Any, Mapping[str, Any]], Any] | None = None


def numbers(random: np.random.Generator) -> dict[str, Array]:
    return {"labels": random.standard_normal((6, 3)) * 2}


def yes_or_no(random: np.random.Generator) -> dict[str, Array]:
    return {"labels": random.integers(0, 2, (6, 3)).astype(np.float64)}


def classes(random: np.random.Generator) -> dict[str, Array]:
    return {"labels": random.integers(0, 3, 6)}


def positions(random: np.random.Generator) -> dict[str, Array]:
    return {"labels": np.where(random.random((6, 4)) < 0.3, -1, random.integers(0, 3, (6, 4)))}


def target(random: np.random.Generator) -> dict[str, Array]:
    return {"target": random.random((6, 3))}


def target_logits(random: np.random.Generator) -> dict[str, Array]:
    return {"target_logits": random.standard_normal((6, 3))}


def position_target(random: np.random.Generator) -> dict[str, Array]:
    q = random.random((6, 3, 4))
    return {"target": q / q.sum(axis=1, keepdims=True)}


CASES = {
    "mse": Case("mean_squared_error", "regression", (3,), numbers, lambda F, z, i: F.mse_loss(z, i["labels"])),
    "huber": Case("huber", "regression", (3,), numbers, lambda F, z, i: F.huber_loss(z, i["labels"])),
    "huber-half": Case(
        "huber[0.5]", "regression", (3,), numbers, lambda F, z, i: F.huber_loss(z, i["labels"], delta=0.5)
    ),
    "bce": Case(
        "binary_cross_entropy",
        "multi-label",
        (3,),
        yes_or_no,
        lambda F, z, i: F.binary_cross_entropy_with_logits(z, i["labels"]),
    ),
    "bce-one": Case(
        "binary_cross_entropy",
        "multi-label",
        (1,),
        lambda random: {"labels": random.integers(0, 2, (6, 1)).astype(np.float64)},
        lambda F, z, i: F.binary_cross_entropy_with_logits(z, i["labels"]),
    ),
    "bce-weighted": Case(
        "binary_cross_entropy[1,4,2.5]",
        "multi-label",
        (3,),
        yes_or_no,
        lambda F, z, i: F.binary_cross_entropy_with_logits(z, i["labels"], pos_weight=z.new_tensor([1, 4, 2.5])),
    ),
    "ce-weighted": Case(
        "weighted_cross_entropy[1,0.25,3]",
        "classification",
        (3,),
        classes,
        lambda F, z, i: F.cross_entropy(z, i["labels"], weight=z.new_tensor([1, 0.25, 3])),
    ),
    "ce-smoothed": Case(
        "smoothed_cross_entropy[0.2]",
        "classification",
        (3,),
        classes,
        lambda F, z, i: F.cross_entropy(z, i["labels"], label_smoothing=0.2),
    ),
    "ce-position": Case(
        "position_cross_entropy",
        "per-position",
        (3, 4),
        positions,
        lambda F, z, i: F.cross_entropy(z, i["labels"], ignore_index=-1),
    ),
    "ce-position-ignoring": Case(
        "position_cross_entropy[2]",
        "per-position",
        (3, 4),
        lambda random: {"labels": random.integers(0, 3, (6, 4))},
        lambda F, z, i: F.cross_entropy(z, i["labels"], ignore_index=2),
    ),
    "focal": Case(
        "focal[3]",
        "classification",
        (3,),
        classes,
        lambda F, z, i: (
            (1 - F.softmax(z, 1).gather(1, i["labels"][:, None])) ** 3
            * -F.log_softmax(z, 1).gather(1, i["labels"][:, None])
        ).mean(),
    ),
    "focal-labels": Case(
        "focal",
        "multi-label",
        (3,),
        yes_or_no,
        lambda F, z, i: (
            (1 - (z * (2 * i["labels"] - 1)).sigmoid()) ** 2
            * F.binary_cross_entropy_with_logits(z, i["labels"], reduction="none")
        ).mean(),
    ),
    "distil-numbers": Case(
        "squared_error",
        "regression",
        (3,),
        target,
        lambda F, z, i: F.mse_loss(z, i["target"], reduction="sum") / len(z),
    ),
    "distil-labels": Case(
        "squared_error",
        "multi-label",
        (3,),
        target,
        lambda F, z, i: F.mse_loss(z.sigmoid(), i["target"], reduction="sum") / len(z),
    ),
    "distil-positions": Case(
        "squared_error",
        "per-position",
        (3, 4),
        position_target,
        lambda F, z, i: F.mse_loss(z.softmax(1), i["target"], reduction="sum") / (len(z) * 4),
    ),
    "soft-labels": Case(
        "soft_cross_entropy",
        "multi-label",
        (3,),
        target,
        lambda F, z, i: F.binary_cross_entropy_with_logits(z, i["target"], reduction="sum") / len(z),
    ),
    "soft-numbers": Case(
        "soft_cross_entropy",
        "regression",
        (3,),
        target,
        lambda F, z, i: F.mse_loss(z, i["target"], reduction="sum") / (2 * len(z)),
    ),
    "soft-positions": Case(
        "soft_cross_entropy",
        "per-position",
        (3, 4),
        position_target,
        lambda F, z, i: F.cross_entropy(z, i["target"], reduction="sum") / (len(z) * 4),
    ),
    "kl-labels": Case(
        "kullback_leibler",
        "multi-label",
        (3,),
        target_logits,
        lambda F, z, i: (
            sum(
                F.kl_div(F.logsigmoid(s * z), F.logsigmoid(s * i["target_logits"]), log_target=True, reduction="sum")
                for s in (1, -1)
            )
            / len(z)
        ),
    ),
}


def value_and_gradient(case: Case, z: Array, inputs: Mapping[str, Array]) -> tuple[float, Array]:
    """(L, dL/dz), computed in float64 by the graph."""
    (term,) = parse(case.objective)
    op = GraphBuilder(18)
    op.argument("z", np.float64, ["n", *z.shape[1:]])
    scalars: dict[str, Array] = {}

    def argument(name: str, dtype: type, *_: object) -> str:
        return op.argument(name, np.float64 if dtype is np.float32 else dtype, ["n", *inputs[name].shape[1:]])

    def scalar(name: str, default: float) -> str:
        scalars[name] = np.array(default)
        return op.argument(name, np.float64, ())

    rows = Rows("z", z.shape[1], 0, None, argument, scalar, TASKS[case.task], term.numbers, z.shape[2:])
    loss = term.build(op, rows)
    (dz,) = gradients(op, {loss: op.like("z", 1)}, ["z"]).values()
    model = model_of(op, ["z", *inputs, *scalars], [loss, dz])
    results: Any = ReferenceEvaluator(model).run(None, {"z": z, **inputs, **scalars})
    return float(results[0]), np.asarray(results[1], np.float64)


def drawn(case: Case, seed: int = 0) -> tuple[Array, Mapping[str, Array]]:
    random = np.random.default_rng(seed)
    return random.standard_normal((6, *case.shape)) * 1.5, case.inputs(random)


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_central_differences(name: str) -> None:
    case = CASES[name]
    z, inputs = drawn(case)
    if name.startswith("huber"):  # its second derivative jumps where |e| is delta
        z = inputs["labels"] + np.where(z > 0, 1, -1) * np.where(np.abs(z) > 1, 1.7, 0.2) * (1 + np.abs(z) / 100)
    _, gradient = value_and_gradient(case, z, inputs)
    for direction in np.random.default_rng(1).standard_normal((3, *z.shape)):
        up, down = (value_and_gradient(case, z + h * direction, inputs)[0] for h in (1e-5, -1e-5))
        assert (up - down) / 2e-5 == pytest.approx(float((gradient * direction).sum()), rel=1e-6, abs=1e-8)


@pytest.mark.oracle
@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_are_pytorchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    case = CASES[name]
    assert case.torch is not None
    z, inputs = drawn(case)
    theirs = torch.tensor(z, requires_grad=True)
    loss = case.torch(torch.nn.functional, theirs, {k: torch.tensor(v) for k, v in inputs.items()})
    loss.backward()
    value, gradient = value_and_gradient(case, z, inputs)
    assert value == pytest.approx(loss.item(), rel=1e-9)
    np.testing.assert_allclose(gradient, theirs.grad.numpy(), rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("z", [-80.0, 0.0, 80.0])
def test_binary_losses_are_finite_for_every_logit(z: float) -> None:
    """Where sigmoid(z) is 1 in float64, the logarithm of 1 - sigmoid(z) would not be."""
    for name in ("bce", "bce-weighted", "focal-labels", "soft-labels", "kl-labels"):
        case = CASES[name]
        value, gradient = value_and_gradient(case, np.full((6, 3), z), drawn(case)[1])
        assert np.isfinite(value), name
        assert np.isfinite(gradient).all(), name


@pytest.mark.parametrize(
    ("objective", "recognised", "task"),
    [
        ("cross_entropy", None, "classification"),
        ("cross_entropy + squared_error(reference)", "multi-label", "classification"),
        ("huber + squared_error(reference)", None, "regression"),
        ("focal", None, "classification"),
        ("focal", "multi-label", "multi-label"),
        ("binary_cross_entropy", "classification", "multi-label"),
        ("position_cross_entropy", None, "per-position"),
    ],
)
def test_the_term_that_learns_from_labels_decides_the_task(objective: str, recognised: str | None, task: str) -> None:
    terms = parse(objective)
    assert task_of(terms, recognised).name == task
    spoken = supervision(terms)
    assert spoken is not None
    assert spoken.key == objective.partition(" ")[0]


def test_labels_of_two_kinds_are_refused() -> None:
    with pytest.raises(ExportError, match="cross_entropy and huber learn from labels of different kinds"):
        task_of(parse("cross_entropy + huber"), None)
