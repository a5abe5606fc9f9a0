"""Gradients of pooling. X (N, C, *S) -> Y (N, C, *O), windows of k cells."""

from collections.abc import Sequence
from math import prod

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.graph.builder import Array
from export.graph.window import Window, one_hot


@gradient("MaxPool")
def max_pool(op: GraphBuilder, node: GraphNode, dY: Value, *unused: Value | None) -> Adjoints:
    """Y = max over the window. Each window's dY is shared equally among the cells that reach the maximum.

    A compare mask alone would give the whole of dY to *every* cell that ties, which constant image
    backgrounds do; dividing by the number of ties keeps it a subgradient (a convex combination).
    """
    window = _window(node)
    return [_tiled(op, node, window, dY) if window.tiles else _overlapping(op, node, window, dY)]


def _tiled(op: GraphBuilder, node: GraphNode, window: Window, dY: Value) -> Value:
    """Windows that do not overlap: stretch Y over its window and compare."""
    X, Y = node.inputs[0], node.outputs[0]
    size, skipped = op.sample(X)[1:], window.skipped(op.sample(X)[1:], op.sample(Y)[1:])
    n = len(window.kernel)
    if any(skipped):
        ends = [s - k for s, k in zip(size, skipped, strict=True)]
        X = op("Slice", X, op.const([0] * n), op.const(ends), op.const(range(2, 2 + n)))
    mask = op("CastLike", op("Equal", X, _stretch(op, Y, window)), dY)
    ties = op("AveragePool", mask, kernel_shape=window.kernel, strides=window.strides)
    share = op("Div", dY, op("Mul", ties, op.like(dY, prod(window.kernel))))
    dX = op("Mul", mask, _stretch(op, share, window))
    return op("Pad", dX, op.const([0] * (n + 4) + list(skipped))) if any(skipped) else dX


def _stretch(op: GraphBuilder, value: Value, window: Window) -> Value:
    """Repeat every element over its window."""
    scales = op.const([1, 1, *window.kernel], np.float32)
    return op(
        "Resize",
        value,
        "",
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def _overlapping(op: GraphBuilder, node: GraphNode, window: Window, dY: Value) -> Value:
    """Any windows: cut X into patches, compare each with its maximum, send the shares back."""
    X, Y = node.inputs[0], node.outputs[0]
    (C, *S), O, k = op.sample(X), op.sample(Y)[1:], prod(window.kernel)
    filters = op.const(one_hot(C, window.kernel), op.dtype(dY))
    patches = op("Conv", X, filters, group=C, **window.attributes)
    cells = op("Reshape", patches, op.const([0, C, k, *O]))
    equal = op("Equal", cells, op("Unsqueeze", Y, op.const([2])))
    if any(window.pads):  # a padded cell is 0, which may equal a maximum of 0
        equal = op("And", equal, op.const(_inside(window, S, O), np.bool_))
    mask = op("CastLike", equal, dY)
    share = op("Div", dY, op.sum(mask, [2]))
    spread = op("Reshape", op("Mul", mask, op("Unsqueeze", share, op.const([2]))), op.const([0, C * k, *O]))
    return op("ConvTranspose", spread, filters, group=C, output_padding=window.skipped(S, O), **window.attributes)


def _inside(window: Window, S: Sequence[int], O: Sequence[int]) -> Array:
    """(1, 1, k, *O) bool: whether cell k of window o lies inside the image."""
    inside = np.ones((1, 1), bool)  # (cells so far, positions so far)
    for i, (size, positions) in enumerate(zip(S, O, strict=True)):
        cell = np.arange(window.kernel[i])[:, None] * window.dilations[i]
        at = np.arange(positions) * window.strides[i] + cell - window.pads[i]
        axis = (at >= 0) & (at < size)
        inside = np.einsum("ko,lp->klop", inside, axis).reshape(len(inside) * len(axis), -1)
    return inside.reshape(1, 1, -1, *O)


@gradient("AveragePool")
def average_pool(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = mean over the window: each cell gets dY / (cells counted), padding counted on request."""
    window = _window(node)
    (C, *S), O = op.sample(node.inputs[0]), op.sample(dY)[1:]
    skipped = window.skipped(S, O)
    if any(window.pads) and not node.attr("count_include_pad", 0):
        share = op("Div", dY, op.const(_inside(window, S, O).sum(axis=2), op.dtype(dY)))
    else:
        share = op("Mul", dY, op.like(dY, 1 / prod(window.kernel)))
    if window.tiles and not any(skipped):
        return [_stretch(op, share, window)]
    ones = op.const(np.ones((C, 1, *window.kernel)), op.dtype(dY))
    return [op("ConvTranspose", share, ones, group=C, output_padding=skipped, **window.attributes)]


@gradient("GlobalAveragePool")
def global_average_pool(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y (N, C, 1...) = mean over the image: a product with a row of 1/n, which is faster than to Expand."""
    C, *S = op.sample(node.inputs[0])
    row = op.const(np.full((1, prod(S)), 1 / prod(S)), op.dtype(dY))
    spread = op("MatMul", op("Reshape", dY, op.const([-1, 1])), row)
    return [op("Reshape", spread, op.const([-1, C, *S]))]


@gradient("GlobalMaxPool")
def global_max_pool(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y (N, C, 1...) = max over the image: dY is shared equally among the cells that reach it."""
    X = node.inputs[0]
    mask = op("CastLike", op("Equal", X, node.outputs[0]), dY)
    ties = op.sum(mask, range(2, len(op.shape(X))), keepdims=True)
    return [op("Mul", mask, op("Div", dY, ties))]


def _window(node: GraphNode) -> Window:
    if node.attr("ceil_mode", 0):
        raise ExportError(f"node {node}: ceil_mode is not supported; pad explicitly")
    return Window.of(node, node.attr("kernel_shape", []))
