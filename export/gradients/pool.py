"""Gradients of pooling. X (N, C, *S) -> Y (N, C, *O), windows of k cells."""

from math import prod

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, Node, Ops, Value, gradient
from export.gradients.conv import one_hot
from export.window import Window


@gradient("MaxPool")
def max_pool(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = max over the window. Each window's dY is shared equally among the cells that reach the maximum.

    A compare mask alone would give the whole of dY to *every* cell that ties, which constant image
    backgrounds do; dividing by the number of ties keeps it a subgradient (a convex combination).
    """
    if len(node.outputs) > 1 and node.outputs[1]:
        raise ExportError(f"node {node}: the Indices output cannot be trained through")
    window = _window(node)
    return [_tiled(op, node, window, dY) if window.tiles else _overlapping(op, node, window, dY)]


def _tiled(op: Ops, node: Node, window: Window, dY: Value) -> Value:
    """Windows side by side: stretch Y over its window and compare."""
    X, Y = node.inputs[0], node.outputs[0]
    skipped = window.skipped(node.shape(0)[2:], op.shape(Y)[2:])
    n = len(window.kernel)
    covered = X
    if any(skipped):
        ends = [s - k for s, k in zip(node.shape(0)[2:], skipped, strict=True) if s is not None]
        covered = op("Slice", X, op.const([0] * n), op.const(ends), op.const(range(2, 2 + n)))
    mask = op("CastLike", op("Equal", covered, _stretch(op, Y, window)), dY)
    ties = op("AveragePool", mask, kernel_shape=window.kernel, strides=window.strides)
    share = op("Div", dY, op("Mul", ties, op.like(dY, prod(window.kernel))))
    dX = op("Mul", mask, _stretch(op, share, window))
    return op("Pad", dX, op.const([0] * (n + 4) + list(skipped))) if any(skipped) else dX


def _stretch(op: Ops, value: Value, window: Window) -> Value:
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


def _overlapping(op: Ops, node: Node, window: Window, dY: Value) -> Value:
    """Any windows: cut X into patches, compare each with its maximum, put the shares back where they came from."""
    X, Y = node.inputs[0], node.outputs[0]
    _, C, *S = node.shape(0)
    O, k = op.shape(Y)[2:], prod(window.kernel)
    if C is None:
        raise ExportError(f"node {node}: the number of channels must be known")
    skipped = window.skipped(S, O)
    filters = op.const(one_hot(C, window.kernel), op.dtype(dY))
    patches = op("Conv", X, filters, group=C, **window.attributes)
    cells = op("Reshape", patches, op.const([0, C, k, *O]))
    equal = op("Equal", cells, op("Unsqueeze", Y, op.const([2])))
    if any(window.pads):  # a padded cell reads 0, which may equal a maximum of 0
        equal = op("And", equal, op.const(_inside(window, S, O), np.bool_))
    mask = op("CastLike", equal, dY)
    share = op("Div", dY, op.sum(mask, [2]))
    spread = op("Mul", mask, op("Unsqueeze", share, op.const([2])))
    flat = op("Reshape", spread, op.const([0, C * k, *O]))
    return op("ConvTranspose", flat, filters, group=C, output_padding=skipped, **window.attributes)


def _inside(window: Window, S: list[int | None], O: tuple[int | None, ...]) -> np.ndarray:  # type: ignore[type-arg]
    """(1, 1, k, *O): whether cell k of window o lies inside the image."""
    axes = []
    for i, (s, o) in enumerate(zip(S, O, strict=True)):
        assert s is not None
        assert o is not None
        at = np.arange(o) * window.strides[i] + np.arange(window.kernel[i])[:, None] * window.dilations[i]
        axes.append((at >= window.pads[i]) & (at < s + window.pads[i]))  # (K_i, O_i)
    inside = axes[0]
    for axis in axes[1:]:  # (K.., O..) -> all kernel axes first, then all output axes
        inside = np.einsum("ab,cd->acbd", inside, axis).reshape(inside.shape[0] * axis.shape[0], -1)
    return inside.reshape(1, 1, prod(window.kernel), *(o for o in O if o is not None))


@gradient("AveragePool")
def average_pool(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = mean over the window: each cell gets dY / (cells counted), padding counted on request."""
    window = _window(node)
    _, C, *S = node.shape(0)
    O, k = op.shape(dY)[2:], prod(window.kernel)
    if C is None:
        raise ExportError(f"node {node}: the number of channels must be known")
    skipped = window.skipped(S, O)
    if any(window.pads) and not node.attr("count_include_pad", 0):
        counted = _inside(window, S, O).sum(axis=2)
        share = op("Div", dY, op.const(counted, op.dtype(dY)))
    else:
        share = op("Mul", dY, op.like(dY, 1 / k))
    if window.tiles and not any(skipped):
        return [_stretch(op, share, window)]
    ones = op.const(np.ones((C, 1, *window.kernel)), op.dtype(dY))
    return [op("ConvTranspose", share, ones, group=C, output_padding=skipped, **window.attributes)]


@gradient("GlobalAveragePool")
def global_average_pool(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y (N, C, 1...) = mean over the image."""
    X = node.inputs[0]
    size = node.shape(0)[2:]
    if None in size:
        raise ExportError(f"node {node}: the spatial size must be known")
    share = op("Mul", dY, op.like(dY, 1 / prod(d for d in size if d is not None)))
    return [op("Expand", share, op("Shape", X))]


def _window(node: Node) -> Window:
    if node.attr("ceil_mode", 0):
        raise ExportError(f"node {node}: ceil_mode is not supported; pad explicitly")
    return Window.of(node, node.attr("kernel_shape", []))
