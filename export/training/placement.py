"""Place a model's nodes in a graph under construction."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edge import bundle
from edge.task import CLASSIFICATION, task
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.graph.node import with_names
from export.graph.shape_folding import ShapeFolder
from export.model import Model, public
from export.passes import optimize
from export.training.modes import Mode, append_node


@dataclass(frozen=True)
class Placement:
    """What a model computes, where it was placed."""

    heads: tuple[Value, ...]
    """logits (n, K), the main head first"""
    embedding: Value | None
    updates: dict[Value, Value]
    """parameter -> its next value, for what the forward pass itself moves"""
    noise: dict[Value, float]
    """mask input -> probability that it keeps an element"""
    least_rows: int = 1
    """rows without which a normalization by the batch has nothing to normalize by"""


def declare(op: GraphBuilder, model: Model) -> None:
    """Declare the model's parameters as inputs and its constants as constants."""
    for name, value in model.parameters.items():
        op.argument(bundle.PARAMETER + name, value.dtype, value.shape)
    for name, value in model.constants.items():
        op.name_constant("constant/" + name, value)


def declare_samples(op: GraphBuilder, model: Model, batch: str = "N") -> dict[Value, Value]:
    """Declare what the caller gives for each sample. Returns the graph's inputs by the model's."""
    return {
        x.name: op.argument(name, np.dtype(x.dtype), [batch, *x.shape])
        for x, name in zip(model.inputs, public(model), strict=True)
    }


def place(
    op: GraphBuilder, model: Model, rows: Mapping[Value, Value], *, training: bool = False, logits: bool = True
) -> Placement:
    """Append the model's nodes, rewritten by `export.passes`.

    Args:
        op: the graph, in which the model is declared already.
        model: the model.
        rows: the values that the model reads as its inputs, (n, *shape), by their names in the model.
        training: normalize by the batch and drop out where the model's nodes say so; otherwise both act as in
            inference.
        logits: insist that the model's heads give logits.

    Returns:
        Where the heads, the embedding and the rest are in the graph.

    Raises:
        ExportError: the model gives no logits, or its batch size is fixed inside.
    """
    rename = dict(rows)
    rename |= {name: bundle.PARAMETER + name for name in model.parameters}
    rename |= {name: "constant/" + name for name in model.constants}
    mode, folder, start = Mode(training), ShapeFolder(op), len(op.nodes)
    for node in model.nodes:
        rename |= {y: "model/" + y for y in node.output if y}
        copy = with_names(node, rename)
        copy.name = node.name or node.output[0]
        if not folder.fold(copy):
            folder.append(copy, lambda node: append_node(op, node, mode))

    results = [rename[value] for value in model.outputs] + list(mode.updates.values())
    moved = optimize(op, results, start=start, training=training)
    heads = tuple(moved.get(rename[head], rename[head]) for head in (model.output, *model.heads))
    for head in heads if logits else ():
        _check_logits(op, model, head)
    embedding = None if model.embedding is None else rename[model.embedding]
    updates = {parameter: moved.get(after, after) for parameter, after in mode.updates.items()}
    embedding = None if embedding is None else moved.get(embedding, embedding)
    return Placement(heads, embedding, updates, mode.noise, mode.least_rows)


def sample_shape(model: Model, value: Value) -> tuple[int, ...]:
    """The dimensions of one sample of a value that the model computes."""
    op = GraphBuilder(model.opset)
    rows = declare_samples(op, model)
    declare(op, model)
    placement = place(op, replace(model, heads=(), embedding=value), rows, logits=False)
    assert placement.embedding is not None
    return op.sample(placement.embedding)


def _check_logits(op: GraphBuilder, model: Model, head: Value) -> None:
    shape, kind = op.shape(head), task(model.task or CLASSIFICATION.name)
    fits = len(shape) > 2 if kind.positions else len(shape) == 2
    if not fits or shape[1] is None or shape[1] < (2 if kind.classes else 1):
        wanted = "(batch, classes, positions ...)" if kind.positions else "(batch, classes)"
        wanted = wanted if kind.classes else "(batch, numbers)"
        hint = "" if kind is CLASSIFICATION else f", which {kind.name} cannot use: name what it is for with --task"
        raise ExportError(f"model '{model.name}' must give logits {wanted}; it gives {list(shape)}{hint}")
    if shape[0] is not None:
        raise ExportError(
            f"model '{model.name}' fixes its batch at {shape[0]} inside; export it with a symbolic batch axis"
        )
