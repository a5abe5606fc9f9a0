"""Standardize the input as part of the model: its first nodes subtract a shift and multiply by a scale.

Both are constants of the graph, taken from a reference set, so that training, prediction, TFLite and all devices agree.
"""

from dataclasses import replace

import onnx
from onnx import helper

from edge.standardization import Standardization, measure
from export.errors import ExportError
from export.graph.builder import Array, Value
from export.graph.node import with_names
from export.model import Model

SHIFT, SCALE, CENTRED, SCALED = "standardize/shift", "standardize/scale", "standardize/centred", "standardize/scaled"
LISTED = 10
"""Features that a note lists."""


def standardize(model: Model, x: Array, origin: str) -> Model:
    """Put the scaling of a reference set before a model.

    Args:
        model: a model that takes floats.
        x: (n, ...) samples of the reference set.
        origin: of the samples, for messages.

    Returns:
        The model; its notes say what was done.

    Raises:
        ExportError: samples that the model does not take, or a model that takes numbers of tokens.
    """
    if model.others:
        listed = ", ".join(i.name for i in model.inputs)
        raise ExportError(f"--standardize {origin}: a reference set has one array, and the model takes {listed}")
    if x.shape[1:] != model.shape or not len(x):
        has, takes = list(x.shape[1:]), list(model.shape)
        raise ExportError(f"--standardize {origin}: its samples are {has}; model '{model.name}' takes {takes}")
    if x.dtype.kind != "f" or takes_tokens(model):
        raise ExportError(f"--standardize {origin}: the model takes token numbers, which have no scale; leave it out")
    measured = measure(x)
    rank = len(model.shape)
    nodes = (
        helper.make_node("Sub", [model.input, SHIFT], [CENTRED], name=CENTRED),
        helper.make_node("Mul", [CENTRED, SCALE], [SCALED], name=SCALED),
        *(with_names(node, {model.input: SCALED}) for node in model.nodes),
    )
    constants = {SHIFT: measured.along(measured.shift, rank), SCALE: measured.along(measured.scale, rank)}
    return replace(
        model,
        nodes=nodes,
        constants={**model.constants, **constants},
        standardization=measured,
        notes=(*model.notes, *notes(measured, origin)),
    )


def takes_tokens(model: Model) -> bool:
    """Whether a node reads the model's input as token numbers."""
    return model.dtype != "float32" or any(_indexes(node, model.input) for node in model.nodes)


def notes(measured: Standardization, origin: str) -> list[str]:
    """Say what was done, and what could not be.

    Args:
        measured: the scaling.
        origin: of the samples it was taken from.
    """
    spreads = [1 / scale for i, scale in enumerate(measured.scale) if i not in measured.constant]
    known = f"spreads {min(spreads):.3g} to {max(spreads):.3g}" if spreads else "no variance"
    means = f"means {min(measured.shift):.3g} to {max(measured.shift):.3g}"
    lines = [f"the input is standardized by {origin}: {len(measured.scale)} features or channels, {means}, {known}"]
    if measured.constant:
        listed = ", ".join(map(str, measured.constant[:LISTED])) + (", ..." if len(measured.constant) > LISTED else "")
        lines.append(f"without variance in {origin}, so shifted but not scaled: {listed}")
    return lines


def _indexes(node: onnx.NodeProto, value: Value) -> bool:
    """Whether a node reads a value as token numbers."""
    return node.op_type in ("Cast", "OneHot", "Gather") and value == node.input[node.op_type == "Gather"]
