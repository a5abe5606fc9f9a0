"""Place a model and the losses of its objective in a graph under construction.

The private and the reference batch go through the model as *one* batch, their rows one after the other, and the logits
are cut apart again: half the nodes of two passes, and larger products.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
import onnx

from edge import bundle
from edge.task import Task
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.model import Model, public
from export.objectives import Rows, Term, parse, supervision, task_of
from export.training.placement import Placement, declare, place

Argument = tuple[Any, tuple[int | str, ...]]
"""(dtype, dimensions) of a run-time input"""


@dataclass(frozen=True)
class Losses:
    """A model and the losses of its objective, where they were placed."""

    placement: Placement
    inputs: dict[Value, Argument]
    """what a step reads of its batches"""
    terms: dict[Value, Value]
    """name of the weight -> scalar loss"""
    scalars: dict[Value, float]
    """run-time scalars of the terms, weights included, with their defaults"""
    logits: Value
    """the main head's, of the private batch"""
    task: Task
    """of the model"""
    supervision: str | None
    """the term that learns from labels, if there is one"""
    arguments: dict[str, tuple[float, ...]]
    """numbers that terms were given"""


class _Inputs:
    """The run-time inputs that terms ask for, each declared once."""

    def __init__(self, op: GraphBuilder, terms: Iterable[Term]) -> None:
        self._op = op
        self.tensors: dict[Value, Argument] = {}
        self.scalars = {bundle.WEIGHT + term.key: term.weight for term in terms}

    def tensor(self, name: Value, dtype: Any, *shape: int | str) -> Value:
        """A tensor of a batch."""
        if name not in self.tensors:
            self.tensors[name] = (dtype, shape)
            self._op.argument(name, dtype, shape)
        return name

    def scalar(self, name: str, default: float) -> Value:
        """A number that every step may be given."""
        self.scalars[name] = default
        return self._op.argument(name, np.float32, ())


def place_losses(op: GraphBuilder, model: Model, objective: str) -> Losses:
    """Append the model, on all batches that the objective names in one pass, and its losses.

    Args:
        op: the graph.
        model: the model.
        objective: the terms, as in "cross_entropy + 1.0*squared_error(reference)".

    Returns:
        Where everything is in the graph.

    Raises:
        ExportError: an unknown term, a head or an embedding that the model does not have.
    """
    terms = parse(objective)
    inputs = _Inputs(op, terms)
    prefixes = {"private": ("", "N")}
    if any(t.batch == "reference" for t in terms):
        prefixes["reference"] = ("reference_", "R")
    rows: dict[Value, Value] = {}
    tensors: list[list[Value]] = []
    for x, name in zip(model.inputs, public(model), strict=True):
        tensors.append([inputs.tensor(pre + name, np.dtype(x.dtype), n, *x.shape) for pre, n in prefixes.values()])
        rows[x.name] = op("Concat", *tensors[-1], axis=0) if len(prefixes) > 1 else name
    batches = dict(zip(prefixes, tensors[0], strict=True))  # all inputs have the same rows
    declare(op, model)
    task = task_of(terms, model.task)
    placement = place(op, replace(model, task=task.name), rows, training=True)
    outputs = [*placement.heads, *([placement.embedding] if placement.embedding else [])]
    parts = {value: dict(zip(batches, _cut(op, value, list(batches.values())), strict=True)) for value in outputs}
    losses: dict[Value, Value] = {}
    for term in terms:
        op.argument(bundle.WEIGHT + term.key, np.float32, ())
        losses[bundle.WEIGHT + term.key] = term.build(op, _rows(op, term, task, placement, parts, inputs))
    spoken = supervision(terms)
    return Losses(
        placement,
        inputs.tensors,
        losses,
        inputs.scalars,
        parts[placement.heads[0]]["private"],
        task,
        spoken.key if spoken else None,
        {term.key: term.numbers for term in terms if term.numbers},
    )


def metrics(op: GraphBuilder, losses: Losses) -> dict[str, Value]:
    """Append what a step reports.

    Returns:
        By public name: each term's loss, their weighted sum, and how many private rows were classified correctly, where
        a row has one class.
    """
    results = {bundle.LOSS + w.removeprefix(bundle.WEIGHT): loss for w, loss in losses.terms.items()}
    weighted = (op("Mul", loss, weight) for weight, loss in losses.terms.items())
    results[bundle.TOTAL] = reduce(lambda a, b: op("Add", a, b), weighted)
    if "labels" in losses.inputs and losses.task.simplex:
        results[bundle.CORRECT] = _correct(op, losses.logits, "labels")
    return results


def _rows(
    op: GraphBuilder,
    term: Term,
    task: Task,
    placement: Placement,
    parts: dict[Value, dict[str, Value]],
    inputs: _Inputs,
) -> Rows:
    """What a term reads. parts: the rows of each batch, for every head and the embedding."""
    prefix, n = ("", "N") if term.batch == "private" else (f"{term.batch}_", "R")
    if term.head >= len(placement.heads):
        raise ExportError(f"{term.key}: the model has heads 0 to {len(placement.heads) - 1}; add some with --heads")
    logits = parts[placement.heads[term.head]][term.batch]
    return Rows(
        logits=logits,
        classes=op.sample(logits)[0],
        head=term.head,
        embedding=None if placement.embedding is None else parts[placement.embedding][term.batch],
        argument=lambda name, dtype, *shape: inputs.tensor(
            prefix + name, dtype, *(n if size == "n" else size for size in shape)
        ),
        scalar=lambda name, default: inputs.scalar(f"{name}/{term.key}", default),
        task=task,
        numbers=term.numbers,
        positions=op.sample(logits)[1:],
    )


def _cut(op: GraphBuilder, value: Value, batches: list[Value]) -> list[Value]:
    """The rows of each batch."""
    if len(batches) == 1:
        return [value]
    sizes = op("Concat", *(op("Shape", b, start=0, end=1) for b in batches), axis=0)
    return [op.assume(part, value) for part in op.all("Split", value, sizes, outputs=len(batches), axis=0)]


def _correct(op: GraphBuilder, logits: Value, labels: Value) -> Value:
    """How many rows have their largest logit at the label, as a float32 scalar."""
    hits = op("Equal", op("ArgMax", logits, axis=1, keepdims=0), labels)
    return op("ReduceSum", op("Cast", hits, to=onnx.TensorProto.FLOAT), keepdims=0)
