"""Gradients of Conv and ConvTranspose.

Shapes, with g groups:  X (N, C, *S)   W (M, C/g, *K)   B (M,)   Y (N, M, *O)

  dX  the transposed convolution of dY with the same W
  dW  ConvFilterGradient of X and dY, an internal operator that `export.lowering` writes in the cheapest formulation
  dB  dY summed over everything but the channel
"""

from collections.abc import Sequence
from math import prod

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Size, Value, gradient, macs
from export.graph.node import FILTER_GRADIENT
from export.graph.window import Window


@gradient("Conv")
def conv(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y[n, m, o] = B[m] + sum over c, k of W[m, c, k] X[n, c, stride o + dilation k - pad]."""
    X, W, *bias = node.inputs
    window, group = Window.of(node, op.sample(W)[1:]), node.attr("group", 1)
    dX = None
    if node.wanted[0] and group == 1 and window.pointwise:
        # Every cell is on its own: a plain product, where ConvTranspose would copy its result once more.
        dX = op("Conv", dY, op("Transpose", W, perm=[1, 0, *range(2, len(op.shape(W)))]))
    elif node.wanted[0]:
        # A stride may skip the last rows of X; output_padding restores them, as zeros.
        skipped = window.skipped(op.sample(X)[1:], op.sample(dY)[1:])
        dX = op("ConvTranspose", dY, W, group=group, output_padding=skipped, **window.attributes)
    dW = op.internal(FILTER_GRADIENT, X, dY, like=W, group=group, **window.attributes)
    return [dX, dW, _bias_gradient(op, dY)][: 2 + len(bias)]


@gradient("ConvTranspose")
def conv_transpose(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """The convolution that Conv's input gradient is: W (C, M/g, *K), and X and dY swap roles.

    dX is the convolution of dY with W; dW is the filter gradient of that convolution, which reads dY and yields X.
    """
    X, W, *bias = node.inputs
    if node.has("output_shape"):
        raise ExportError(f"node {node}: output_shape is not supported; write pads and output_padding")
    window, group = Window.of(node, op.sample(W)[1:]), node.attr("group", 1)
    if any(extra >= stride for extra, stride in zip(node.attr("output_padding", ()), window.strides, strict=False)):
        raise ExportError(f"node {node}: output_padding must be smaller than the stride")
    dX = op("Conv", dY, W, group=group, **window.attributes)
    dW = op.internal(FILTER_GRADIENT, dY, X, like=W, group=group, **window.attributes)
    return [dX, dW, _bias_gradient(op, dY)][: 2 + len(bias)]


@macs("Conv")
def conv_macs(node: GraphNode, inputs: Sequence[Size], output: Size) -> int:
    """One filter per output element; constant filters only copy (patches of a filter gradient)."""
    return 0 if node.constant(1) is not None else prod(output) * prod(inputs[1][1:])


@macs("ConvTranspose")
def conv_transpose_macs(node: GraphNode, inputs: Sequence[Size], output: Size) -> int:
    """One filter per input element."""
    return 0 if node.constant(1) is not None else prod(inputs[0]) * prod(inputs[1][1:])


def _bias_gradient(op: GraphBuilder, dY: Value) -> Value:
    return op.sum(dY, [0, *range(2, len(op.shape(dY)))])
