"""Model + objective + optimizer -> the graphs of a bundle.

The private and the reference batch go through the model as *one* batch, their rows one under the
other, and the logits are cut apart again: half the nodes of two passes, and larger products.
"""

from dataclasses import dataclass, field
from functools import reduce
from typing import Any

import numpy as np
import onnx

from edge import bundle
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.graph.rewrite import ONNX_RUNTIME
from export.model import Model
from export.objectives import Rows, Term, parse
from export.training.autodiff import gradients
from export.training.placement import Placement, declare, place
from export.training.proto import IR_VERSION, model_proto
from export.training.update import Update


@dataclass(frozen=True)
class Training:
    """The two graphs of a bundle, and the part of its manifest that describes them.

    files: what is for other runtimes, by name in the bundle.
    """

    train: onnx.ModelProto
    predict: onnx.ModelProto
    manifest: dict[str, Any]
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Forward:
    """A model and its losses in a graph under construction.

    inputs: what a step reads, name -> (dtype, dimensions). losses: name of the weight -> scalar loss.
    scalars: run-time scalars of the terms, weights included, with their defaults. logits: the main head's, of
    the private batch.
    """

    placed: Placement
    inputs: dict[Value, tuple[Any, tuple[int | str, ...]]]
    losses: dict[Value, Value]
    scalars: dict[Value, float]
    logits: Value


def assemble(
    model: Model,
    *,
    objective: str = "cross_entropy",
    optimizer: str | Update = "sgd",
    segments: int = 1,
    target: str = ONNX_RUNTIME,
) -> Training:
    """Write the training step of `model`.

    segments: above 1, activations are computed again instead of kept (`export.training.recompute`).
    target: "tflite" for a graph that `export.tflite` is to lower.

    Raises:
        ExportError: an unknown term, an operator without a rule, a model that is no classifier.
        ConfigError: an unknown optimizer.
    """
    update = Update(optimizer) if isinstance(optimizer, str) else optimizer
    op = GraphBuilder(model.opset)
    forward = place_objective(op, model, objective)
    placed, inputs = forward.placed, forward.inputs
    hyper = forward.scalars | update.hyper()
    for name in update.hyper():
        op.argument(name, np.float32, ())
    parameters = [bundle.PARAMETER + name for name in model.parameters]
    trained = [bundle.PARAMETER + name for name in model.parameters if model.trains(name)]
    adjoints = gradients(op, {loss: weight for weight, loss in forward.losses.items()}, trained, segments=segments)

    states: list[Value] = []

    def state(kind: str, like: Value | None) -> Value:
        name = bundle.STATE + kind + ("" if like is None else "/" + like.removeprefix(bundle.PARAMETER))
        states.append(op.argument(name, np.float32, () if like is None else op.shape(like)))
        return name

    after = update.build(op, adjoints, {h: h for h in hyper}, state) | placed.updates

    results = metrics(op, forward)
    results |= {bundle.NEXT + value: after[value] for value in [*parameters, *states] if value in after}
    manifest = {
        "name": model.name,
        "shape": model.shape,
        "classes": op.sample(forward.logits)[0],
        "heads": len(placed.heads),
        "embedding": None if placed.embedding is None else op.sample(placed.embedding),
        "objective": [w.removeprefix(bundle.WEIGHT) for w in forward.losses],
        "optimizer": update.optimizer,
        "inputs": [{"name": k, "shape": s, "dtype": np.dtype(d).name} for k, (d, s) in inputs.items()],
        "noise": [{"name": k, "shape": op.sample(k), "keep": keep} for k, keep in placed.noise.items()],
        "hyper": hyper,
        "parameters": [
            {"name": k, "shape": v.shape, "trainable": model.trains(k), "statistic": k in model.statistics}
            for k, v in model.parameters.items()
        ],
        "state": [{"name": s.removeprefix(bundle.STATE), "shape": op.shape(s)} for s in states],
        "opset": op.opset,
        "ir_version": IR_VERSION,
    }
    train = model_proto(op, "train", [*inputs, *placed.noise, *hyper, *parameters, *states], results, target)
    return Training(train, predict(model, target), manifest)


def predict(model: Model, target: str = ONNX_RUNTIME) -> onnx.ModelProto:
    """X and parameters -> logits and probabilities (n, K) of every head, and the embedding if there is one."""
    op = GraphBuilder(model.opset)
    op.argument("x", np.float32, ["N", *model.shape])
    declare(op, model)
    placement = place(op, model, "x")
    results: dict[str, Value] = {}
    for i, head in enumerate(placement.heads):
        results[bundle.head_name(bundle.LOGITS, i)] = head
        results[bundle.head_name(bundle.PROBABILITIES, i)] = op("Softmax", head, axis=1)
    if placement.embedding is not None:
        results[bundle.EMBEDDING] = placement.embedding
    return model_proto(op, "predict", ["x", *(bundle.PARAMETER + p for p in model.parameters)], results, target)


def place_objective(op: GraphBuilder, model: Model, objective: str) -> Forward:
    """Append the model, on all the batches the objective names in one pass, and its losses."""
    terms = parse(objective)
    inputs: dict[Value, tuple[Any, tuple[int | str, ...]]] = {}

    def argument(name: Value, dtype: Any, *shape: int | str) -> Value:
        if name not in inputs:
            inputs[name] = (dtype, shape)
            op.argument(name, dtype, shape)
        return name

    batches = {"private": argument("x", np.float32, "N", *model.shape)}
    if any(t.batch == "reference" for t in terms):
        batches["reference"] = argument("reference_x", np.float32, "R", *model.shape)
    declare(op, model)
    rows = op("Concat", *batches.values(), axis=0) if len(batches) > 1 else "x"
    placed = place(op, model, rows, training=True)
    shown = [*placed.heads, *([placed.embedding] if placed.embedding else [])]
    cut = {value: dict(zip(batches, _cut(op, value, list(batches.values())), strict=True)) for value in shown}
    scalars = {bundle.WEIGHT + t.key: t.weight for t in terms}
    losses: dict[Value, Value] = {}

    def read(term: Term) -> Rows:
        prefix, n = ("", "N") if term.batch == "private" else (f"{term.batch}_", "R")
        if term.head >= len(placed.heads):
            raise ExportError(f"{term.key}: the model has heads 0 to {len(placed.heads) - 1}; add some with --heads")

        def of_batch(name: str, dtype: Any, *shape: int | str) -> Value:
            return argument(prefix + name, dtype, *(n if d == "n" else d for d in shape))

        def scalar(name: str, default: float) -> Value:
            scalars[f"{name}/{term.key}"] = default
            return op.argument(f"{name}/{term.key}", np.float32, ())

        logits = cut[placed.heads[term.head]][term.batch]
        embedding = None if placed.embedding is None else cut[placed.embedding][term.batch]
        return Rows(logits, op.sample(logits)[0], term.head, embedding, of_batch, scalar)

    for term in terms:
        op.argument(bundle.WEIGHT + term.key, np.float32, ())
        losses[bundle.WEIGHT + term.key] = term.build(op, read(term))
    return Forward(placed, inputs, losses, scalars, cut[placed.heads[0]]["private"])


def _cut(op: GraphBuilder, value: Value, batches: list[Value]) -> list[Value]:
    """The rows of each batch."""
    if len(batches) == 1:
        return [value]
    sizes = op("Concat", *(op("Shape", b, start=0, end=1) for b in batches), axis=0)
    return [op.assume(part, value) for part in op.all("Split", value, sizes, outputs=len(batches), axis=0)]


def total(op: GraphBuilder, forward: Forward) -> Value:
    """The weighted sum of the losses."""
    return reduce(lambda a, b: op("Add", a, b), (op("Mul", loss, weight) for weight, loss in forward.losses.items()))


def metrics(op: GraphBuilder, forward: Forward) -> dict[str, Value]:
    """What a step says: each term's loss, their weighted sum, and how many rows were right."""
    found = {bundle.LOSS + w.removeprefix(bundle.WEIGHT): loss for w, loss in forward.losses.items()}
    found[bundle.TOTAL] = total(op, forward)
    if "labels" in forward.inputs:
        found[bundle.CORRECT] = _correct(op, forward.logits, "labels")
    return found


def _correct(op: GraphBuilder, logits: Value, labels: Value) -> Value:
    """How many rows have their largest logit at the label, as a float32 scalar."""
    hits = op("Equal", op("ArgMax", logits, axis=1, keepdims=0), labels)
    return op("ReduceSum", op("Cast", hits, to=onnx.TensorProto.FLOAT), keepdims=0)
