"""Model + objective + optimizer -> the graphs of a bundle.

The private and the reference batch go through the model as *one* batch, their rows one under the
other, and the logits are cut apart again: half the nodes of two passes, and larger products.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

import edge.bundle as names
from export.autodiff import gradients
from export.errors import ExportError
from export.model import Model
from export.objectives import Rows, Term, parse
from export.ops import Ops, Value
from export.place import IR_VERSION, declare, model_proto, place, predict
from export.update import Update


@dataclass(frozen=True)
class Training:
    """The two graphs of a bundle, and the part of its manifest that describes them."""

    train: onnx.ModelProto
    predict: onnx.ModelProto
    manifest: dict[str, Any]


def assemble(model: Model, *, objective: str = "cross_entropy", optimizer: str | Update = "sgd") -> Training:
    """Write the training step of `model`.

    Raises:
        ExportError: an unknown term, an operator without a rule, a model that is no classifier.
        ConfigError: an unknown optimizer.
    """
    terms = parse(objective)
    update = Update(optimizer) if isinstance(optimizer, str) else optimizer
    op = Ops(model.opset)
    inputs: dict[Value, tuple[Any, tuple[int | str, ...]]] = {}

    def argument(name: Value, dtype: Any, *shape: int | str) -> Value:
        if name not in inputs:
            inputs[name] = (dtype, shape)
            op.argument(name, dtype, shape)
        return name

    # Forward: x and reference_x in one pass.
    batches = {"private": argument("x", np.float32, "N", *model.shape)}
    if any(t.batch == "reference" for t in terms):
        batches["reference"] = argument("reference_x", np.float32, "R", *model.shape)
    declare(op, model)
    placed = place(op, model, op("Concat", *batches.values(), axis=0) if len(batches) > 1 else "x", training=True)
    cut = {value: dict(zip(batches, _cut(op, value, list(batches.values())), strict=True)) for value in placed.heads}
    if placed.embedding is not None:
        cut[placed.embedding] = dict(zip(batches, _cut(op, placed.embedding, list(batches.values())), strict=True))

    # Objective and backward.
    hyper = {names.WEIGHT + t.key: t.weight for t in terms} | update.hyper()
    losses: dict[Value, Value] = {}

    def rows(term: Term) -> Rows:
        prefix, n = ("", "N") if term.batch == "private" else (f"{term.batch}_", "R")
        if term.head >= len(placed.heads):
            raise ExportError(f"{term.key}: the model has heads 0 to {len(placed.heads) - 1}; add some with --heads")

        def of_batch(name: str, dtype: Any, *shape: int | str) -> Value:
            return argument(prefix + name, dtype, *(n if d == "n" else d for d in shape))

        def scalar(name: str, default: float) -> Value:
            hyper[f"{name}/{term.key}"] = default
            return op.argument(f"{name}/{term.key}", np.float32, ())

        logits = cut[placed.heads[term.head]][term.batch]
        embedding = None if placed.embedding is None else cut[placed.embedding][term.batch]
        return Rows(logits, op.sample(logits)[0], term.head, embedding, of_batch, scalar)

    for term in terms:
        losses[names.WEIGHT + term.key] = term.build(op, rows(term))
    for name in hyper:
        if name not in op.types:
            op.argument(name, np.float32, ())
    parameters = [names.PARAMETER + name for name in model.parameters]
    trained = [names.PARAMETER + name for name in model.parameters if model.trains(name)]
    adjoints = gradients(op, {loss: weight for weight, loss in losses.items()}, trained)

    # Update.
    states: list[Value] = []

    def state(kind: str, like: Value | None) -> Value:
        name = names.STATE + kind + ("" if like is None else "/" + like.removeprefix(names.PARAMETER))
        states.append(op.argument(name, np.float32, () if like is None else op.shape(like)))
        return name

    after = update.build(op, adjoints, {h: h for h in hyper}, state) | placed.updates

    results = {names.LOSS + w.removeprefix(names.WEIGHT): loss for w, loss in losses.items()}
    results[names.TOTAL] = _total(op, losses)
    if "labels" in inputs:
        results[names.CORRECT] = _correct(op, cut[placed.heads[0]]["private"], "labels")
    results |= {names.NEXT + value: after[value] for value in [*parameters, *states] if value in after}
    manifest = {
        "name": model.name,
        "shape": model.shape,
        "classes": op.sample(placed.heads[0])[0],
        "heads": len(placed.heads),
        "embedding": None if placed.embedding is None else op.sample(placed.embedding),
        "objective": [t.key for t in terms],
        "optimizer": update.optimizer,
        "inputs": [{"name": k, "shape": s, "dtype": np.dtype(d).name} for k, (d, s) in inputs.items()],
        "noise": [{"name": k, "shape": op.sample(k), "keep": keep} for k, keep in placed.noise.items()],
        "hyper": hyper,
        "parameters": [
            {"name": k, "shape": v.shape, "trainable": model.trains(k), "statistic": k in model.statistics}
            for k, v in model.parameters.items()
        ],
        "state": [{"name": s.removeprefix(names.STATE), "shape": op.shape(s)} for s in states],
        "opset": op.opset,
        "ir_version": IR_VERSION,
    }
    train = model_proto(op, "train", [*inputs, *placed.noise, *hyper, *parameters, *states], results)
    return Training(train, predict(model), manifest)


def _cut(op: Ops, value: Value, batches: list[Value]) -> list[Value]:
    """The rows of each batch."""
    if len(batches) == 1:
        return [value]
    sizes = op("Concat", *(op("Shape", b, start=0, end=1) for b in batches), axis=0)
    return [op.assume(part, value) for part in op.all("Split", value, sizes, outputs=len(batches), axis=0)]


def _total(op: Ops, losses: Mapping[Value, Value]) -> Value:
    """The weighted sum of the losses, given by weight."""
    return op("Sum", *(op("Mul", loss, weight) for weight, loss in losses.items()))


def _correct(op: Ops, logits: Value, labels: Value) -> Value:
    """How many rows have their largest logit at the label, as a float32 scalar."""
    hits = op("Equal", op("ArgMax", logits, axis=1, keepdims=0), labels)
    return op("ReduceSum", op("Cast", hits, to=onnx.TensorProto.FLOAT), keepdims=0)
