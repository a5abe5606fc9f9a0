"""Gradients of Conv and ConvTranspose.

Shapes, with g groups:  X (N, C, *S)   W (M, C/g, *K)   B (M,)   Y (N, M, *O)

  dX  the transposed convolution of dY with the same W
  dW  the product of dY with X's patches, summed over the batch
  dB  dY summed over everything but the channel
"""

from math import prod

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, Node, Ops, Value, gradient
from export.ops import Array
from export.window import Window


@gradient("Conv")
def conv(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y[n, m, o] = B[m] + sum over c, k of W[m, c, k] X[n, c, stride o + dilation k - pad]."""
    X, W, *bias = node.inputs
    window, group = Window.of(node, op.sample(W)[1:]), node.attr("group", 1)
    dX = None
    if node.wanted[0]:
        # A stride may skip the last rows of X; output_padding restores them, as zeros.
        skipped = window.skipped(op.sample(X)[1:], op.sample(dY)[1:])
        dX = op("ConvTranspose", dY, W, group=group, output_padding=skipped, **window.attributes)
    dW = _weight_gradient(op, X, dY, window, group)
    return [dX, dW, _bias_gradient(op, dY)][: 2 + len(bias)]


@gradient("ConvTranspose")
def conv_transpose(op: Ops, node: Node, dY: Value) -> Adjoints:
    """The convolution that Conv's input gradient is: W (C, M/g, *K), and the roles of X and dY change.

    dX is the convolution of dY with W; dW the product of X with dY's patches.
    """
    X, W, *bias = node.inputs
    if node.has("output_shape"):
        raise ExportError(f"node {node}: output_shape is not supported; write pads and output_padding")
    window, group = Window.of(node, op.sample(W)[1:]), node.attr("group", 1)
    if any(extra >= stride for extra, stride in zip(node.attr("output_padding", ()), window.strides, strict=False)):
        raise ExportError(f"node {node}: output_padding must be smaller than the stride")
    dX = op("Conv", dY, W, group=group, **window.attributes)
    dW = _weight_gradient(op, dY, X, window, group)
    return [dX, dW, _bias_gradient(op, dY)][: 2 + len(bias)]


def _bias_gradient(op: Ops, dY: Value) -> Value:
    return op.sum(dY, [0, *range(2, len(op.shape(dY)))])


def _weight_gradient(op: Ops, X: Value, dY: Value, window: Window, group: int) -> Value:
    """DW (M, C/g, *K) = sum over n and o of dY[n, m, o] patches[n, c, k, o].

    The patches are cut out by a grouped convolution with one-hot filters, which the runtime does
    faster than any arrangement of slices that was measured (docs/architecture.md).
    """
    C, M, k = op.sample(X)[0], op.sample(dY)[0], prod(window.kernel)
    per_group = C // group
    patches = op("Conv", X, op.const(one_hot(C, window.kernel), op.dtype(dY)), group=C, **window.attributes)
    groups = [group] if group > 1 else []
    patches = op("Reshape", patches, op.const([0, *groups, per_group * k, -1]))
    flat = op("Reshape", dY, op.const([0, *groups, M // group, -1]))
    product = op("MatMul", patches, op.swapped(flat))
    return op("Reshape", op.swapped(op.sum(product, [0])), op.const([M, per_group, *window.kernel]))


def one_hot(channels: int, kernel: tuple[int, ...]) -> Array:
    """Filters (channels * k, 1, *kernel) that copy each cell of the window to a channel of its own."""
    k = prod(kernel)
    return np.tile(np.eye(k).reshape(k, 1, *kernel), (channels, 1, *(1 for _ in kernel)))
