"""Gradient of Conv.

Shapes, with g groups:  X (N, C, *S)   W (M, C/g, *K)   B (M,)   Y (N, M, *O)

  dX  the transposed convolution of dY with the same W
  dW  the product of dY with X's patches, summed over the batch
  dB  dY summed over everything but the channel
"""

from math import prod

import numpy as np

from export.gradients import Adjoints, Node, Ops, Value, gradient
from export.ops import Array
from export.window import Window


@gradient("Conv")
def conv(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y[n, m, o] = B[m] + sum over c, k of W[m, c, k] X[n, c, stride o + dilation k - pad]."""
    _, W, *bias = node.inputs
    window = Window.of(node, op.sample(W)[1:])
    dX = _input_gradient(op, node, window, dY) if node.wanted[0] else None
    dW = _weight_gradient(op, node, window, dY)
    dB = op.sum(dY, [0, *range(2, 2 + len(window.kernel))]) if bias else None
    return [dX, dW, dB][: len(node.inputs)]


def _input_gradient(op: Ops, node: Node, window: Window, dY: Value) -> Value:
    # A stride may skip the last rows of X; output_padding restores them, as zeros.
    skipped = window.skipped(op.sample(node.inputs[0])[1:], op.sample(dY)[1:])
    return op(
        "ConvTranspose",
        dY,
        node.inputs[1],
        group=node.attr("group", 1),
        output_padding=skipped,
        **window.attributes,
    )


def _weight_gradient(op: Ops, node: Node, window: Window, dY: Value) -> Value:
    """DW (M, C/g, *K) = sum over n and o of dY[n, m, o] patches[n, c, k, o].

    The patches are cut out by a grouped convolution with one-hot filters, which the runtime does
    faster than any arrangement of slices that was measured (docs/architecture.md).
    """
    C, M, per_group = op.sample(node.inputs[0])[0], op.sample(dY)[0], op.sample(node.inputs[1])[0]
    g, k = node.attr("group", 1), prod(window.kernel)
    patches = op(
        "Conv",
        node.inputs[0],
        op.const(one_hot(C, window.kernel), op.dtype(dY)),
        group=C,
        **window.attributes,
    )
    patches = op("Reshape", patches, op.const([0, g, per_group * k, -1] if g > 1 else [0, per_group * k, -1]))
    flat = op("Reshape", dY, op.const([0, g, M // g, -1] if g > 1 else [0, M, -1]))
    rank = 4 if g > 1 else 3
    product = op("MatMul", patches, op("Transpose", flat, perm=[*range(rank - 2), rank - 1, rank - 2]))
    summed = op("Transpose", op.sum(product, [0]), perm=[*range(rank - 3), rank - 2, rank - 3])
    return op("Reshape", summed, op.const([M, per_group, *window.kernel]))


def one_hot(channels: int, kernel: tuple[int, ...]) -> Array:
    """Filters (channels * k, 1, *kernel) that copy each cell of the window to a channel of its own."""
    k = prod(kernel)
    return np.tile(np.eye(k).reshape(k, 1, *kernel), (channels, 1, *(1 for _ in kernel)))
