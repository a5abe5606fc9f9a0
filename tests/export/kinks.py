"""Which rows of a batch keep every activation away from a kink.

Where an input of a ReLU lies within rounding of zero, two float32 implementations may take different slopes, and both
are right; the processor's order of summation decides. A gradient test therefore draws its batches until no activation
is that near, measured by the rounding error that float32 makes in that very layer.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from onnx import helper

from edge.interfaces import Array
from export.model import Model

twins = importlib.import_module("edge_bench.twin")
SAFETY = 4
"""A kink must be this many times farther away than the largest rounding error that float32 makes in the layer."""

TIE = 1e-6
"""What is less than this share of float32's error apart is equal but for the rounding of float64, as in windows that
see the same pixels: whichever slope is taken, the gradient is the same."""


def _windows(attributes: dict[str, Any], x: Any) -> Any:
    """The largest value of every window less the second largest; equal ones share the gradient and have no kink."""
    n, channels = x.shape[:2]
    cells = torch.nn.functional.unfold(x, attributes["kernel_shape"], stride=attributes["strides"])
    first, second = cells.view(n, channels, -1, cells.shape[-1]).topk(2, dim=2).values.unbind(2)
    return first - second


DISTANCES: dict[str, Callable[..., list[Any]]] = {
    "Relu": lambda _, x: [x],
    "Clip": lambda _, x, low, high: [x - low, x - high],
    "MaxPool": lambda attributes, x: [_windows(attributes, x)],
}


def double(model: Model) -> Any:
    """The model in PyTorch, in float64: the reference that gradients in float32 are judged against."""
    twin = twins.Twin(model)
    for name, value in twin.values.items():
        if value.is_floating_point():
            twin.values[name] = value.detach().double().requires_grad_(value.requires_grad)
    return twin


def distances(twin: Any, parameters: dict[str, Array], x: Array) -> list[Array]:
    """How far every activation is from a kink, one array a kink of the model (MaxPool: one value a window)."""
    twin.load(parameters)
    kind = torch.float64 if any(v.dtype == torch.float64 for v in twin.values.values()) else torch.float32
    values = {**twin.values, twin.model.input: torch.from_numpy(x).to(kind)}
    result: list[Array] = []
    with torch.no_grad():
        for node in twin.model.nodes:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            inputs = [values[i] if i else None for i in node.input]
            if node.op_type in DISTANCES:
                result += [d.double().numpy() for d in DISTANCES[node.op_type](attributes, *inputs)]
            outputs = twins.OPERATORS[node.op_type](twin, attributes, *inputs)
            values.update(zip(node.output, outputs if isinstance(outputs, tuple) else (outputs,), strict=False))
    twin.load(parameters)
    return result


def clear_rows(exact: Any, single: Any, parameters: dict[str, Array], x: Array) -> Array:
    """Which rows of the batch keep every activation away from a kink: a mask (N,).

    Args:
        exact: the model in float64 (`double`).
        single: the same model in float32, whose rounding errors are the measure of "near".
        parameters: at which point.
        x: the batch (N, ...). Normalization by the batch lets every row depend on every other.
    """
    clear = np.ones(len(x), bool)
    if not any(node.op_type in DISTANCES for node in exact.model.nodes):
        return clear
    for e, s in zip(distances(exact, parameters, x), distances(single, parameters, x), strict=True):
        error = float(np.abs(e - s).max())
        near = (np.abs(e) <= SAFETY * error) & (np.abs(e) > TIE * error)
        clear &= ~near.reshape(len(x), -1).any(axis=1)
    return clear
