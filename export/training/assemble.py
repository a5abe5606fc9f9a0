"""Assemble the graphs of a bundle from a model, an objective and an optimizer."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx

from edge import bundle
from edge.task import CLASSIFICATION, SUPERVISION, task
from export.graph.builder import GraphBuilder, Value
from export.graph.rewrite import ONNX_RUNTIME
from export.model import Model, vocabularies
from export.objectives import link, parse, task_of
from export.training.autodiff import gradients
from export.training.losses import Losses, metrics, place_losses
from export.training.placement import declare, declare_samples, place
from export.training.proto import IR_VERSION, model_proto
from export.training.update import Update, squared_bound, squared_norm


@dataclass(frozen=True)
class Training:
    """The two graphs of a bundle, and the part of its manifest that describes them."""

    train: onnx.ModelProto
    predict: onnx.ModelProto
    manifest: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)
    """what is for other runtimes, by name in the bundle"""


def assemble(
    model: Model,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
    target: str = ONNX_RUNTIME,
) -> Training:
    """Write the training step of a model.

    Args:
        model: what is trained.
        objective: the terms, as in "cross_entropy + 1.0*squared_error(reference)".
        optimizer: its name, or an update with clipping, weight decay or accumulation.
        segments: above 1, activations are computed again instead of kept (`export.training.recompute`).
        target: the runtime, "onnxruntime" or "tflite" (for a graph that `export.tflite` is to lower).

    Returns:
        The graphs and their description; docs/bundle.md names their inputs and outputs.

    Raises:
        ExportError: an unknown term, an operator without a rule, a model whose outputs do not fit them.
        ConfigError: an unknown optimizer.
    """
    update = Update(optimizer) if isinstance(optimizer, str) else optimizer
    model = replace(model, task=task_of(parse(objective), model.task).name)
    op = GraphBuilder(model.opset)
    losses = place_losses(op, model, objective)
    placement = losses.placement
    hyper = losses.scalars | update.hyper()
    for name in update.hyper():
        op.argument(name, np.float32, ())
    parameters = [bundle.PARAMETER + name for name in model.parameters]
    trained = [bundle.PARAMETER + name for name in model.parameters if model.trains(name)]
    adjoints = gradients(op, {loss: weight for weight, loss in losses.terms.items()}, trained, segments=segments)

    states: list[Value] = []

    def state(kind: str, like: Value | None) -> Value:
        name = bundle.STATE + kind + ("" if like is None else "/" + like.removeprefix(bundle.PARAMETER))
        states.append(op.argument(name, np.float32, () if like is None else op.shape(like)))
        return name

    following = update.build(op, adjoints, {name: name for name in hyper}, state) | placement.updates
    results = metrics(op, losses)
    results |= {bundle.NEXT + value: following[value] for value in [*parameters, *states] if value in following}
    if target == ONNX_RUNTIME:
        squared = squared_bound if update.clip_norm is None else squared_norm  # clipping has computed it anyway
        results[bundle.SQUARED_NORM] = squared(op, [*adjoints.values(), *placement.updates.values()])
    inputs = [*losses.inputs, *placement.noise, *hyper, *parameters, *states]
    train = model_proto(op, "train", inputs, results, target)
    manifest = _manifest(op, model, losses) | {
        "optimizer": update.optimizer,
        "hyper": hyper,
        "state": [{"name": s.removeprefix(bundle.STATE), "shape": op.shape(s)} for s in states],
    }
    return Training(train, predict(model, target), manifest)


def predict(model: Model, target: str = ONNX_RUNTIME) -> onnx.ModelProto:
    """Write the graph that answers.

    Args:
        model: the model.
        target: the runtime, "onnxruntime" or "tflite".

    Returns:
        x (N, *shape) and parameters -> logits (N, K, ...) of every head, their probabilities unless the model is for a
        regression, and the embedding if there is one.
    """
    kind = task(model.task or CLASSIFICATION.name)
    op = GraphBuilder(model.opset)
    rows = declare_samples(op, model)
    declare(op, model)
    placement = place(op, model, rows)
    results: dict[str, Value] = {}
    for i, head in enumerate(placement.heads):
        results[bundle.head_name(bundle.LOGITS, i)] = head
        if kind.bounded:
            results[bundle.head_name(bundle.PROBABILITIES, i)] = link(op, kind, head)
    if placement.embedding is not None:
        results[bundle.EMBEDDING] = placement.embedding
    parameters = [bundle.PARAMETER + name for name in model.parameters]
    return model_proto(op, "predict", [*rows.values(), *parameters], results, target)


def _manifest(op: GraphBuilder, model: Model, losses: Losses) -> dict[str, Any]:
    """What the manifest says of the model and its objective."""
    placement = losses.placement
    return {
        "name": model.name,
        "shape": model.shape,
        "classes": op.sample(losses.logits)[0],
        "task": losses.task.name,
        "supervision": losses.supervision or SUPERVISION,
        "arguments": losses.arguments,
        "heads": len(placement.heads),
        "embedding": None if placement.embedding is None else op.sample(placement.embedding),
        "standardization": model.standardization,
        "objective": [w.removeprefix(bundle.WEIGHT) for w in losses.terms],
        "inputs": [{"name": k, "shape": s, "dtype": np.dtype(d).name} for k, (d, s) in losses.inputs.items()],
        "noise": [{"name": k, "shape": op.sample(k), "keep": keep} for k, keep in placement.noise.items()],
        "parameters": [
            {"name": k, "shape": v.shape, "trainable": model.trains(k), "statistic": k in model.statistics}
            for k, v in model.parameters.items()
        ],
        "least_rows": placement.least_rows,
        "notes": model.notes,
        "vocabulary": vocabularies(model),
        "input_names": [x.name for x in model.inputs] if model.others else (),
        "opset": op.opset,
        "ir_version": IR_VERSION,
    }
