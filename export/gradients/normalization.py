"""Gradients of normalizations.

With xhat = (X - mean) / deviation over the normalized axes, and g = dY scale:

  dX      (g - mean(g) - xhat mean(g xhat)) / deviation
  dscale  dY xhat, summed to the scale's shape
  dbias   dY, summed to the bias's shape
"""

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("LayerNormalization")
def layer_normalization(op: GraphBuilder, node: GraphNode, dY: Value, *unused: Value | None) -> Adjoints:
    """Over the axes from `axis` on; scale and bias have their shape.

    Where the node outputs its mean and 1 / deviation (its second and third outputs), they are not computed again.
    """
    X, scale = node.inputs[:2]
    rank = len(op.shape(X))
    axes = list(range(node.attr("axis", -1) % rank, rank))
    if len(node.outputs) > 2 and node.outputs[1] and node.outputs[2]:
        # They are float32 whatever X is.
        mean, inverse = (v if op.dtype(v) == op.dtype(X) else op("CastLike", v, X) for v in node.outputs[1:3])
        xhat = op("Mul", op("Sub", X, mean), inverse)
        dX = op("Mul", _projected(op, op("Mul", dY, scale), xhat, axes), inverse)
    else:
        xhat, deviation = _normalized(op, X, axes, node.attr("epsilon", 1e-5))
        dX = _input_gradient(op, op("Mul", dY, scale), xhat, deviation, axes)
    return [dX, op("Mul", dY, xhat), dY][: len(node.inputs)]


@gradient("InstanceNormalization")
def instance_normalization(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Over the image, per sample and channel; scale and bias (C,)."""
    X, scale, _ = node.inputs
    axes = list(range(2, len(op.shape(X))))
    xhat, deviation = _normalized(op, X, axes, node.attr("epsilon", 1e-5))
    dX = _input_gradient(op, op("Mul", dY, _per_channel(op, scale, axes)), xhat, deviation, axes)
    return [dX, op.sum(op("Mul", dY, xhat), [0, *axes]), op.sum(dY, [0, *axes])]


@gradient("GroupNormalization")
def group_normalization(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Over the image and the channels of a group; scale and bias (C,), as from operator set 21 on."""
    X, scale, _ = node.inputs
    C, *S = op.sample(X)
    if op.shape(scale) != (C,):
        raise ExportError(f"node {node}: scale and bias must be per channel; convert the model to operator set 21")
    groups = node.attr("num_groups", 1)
    apart, together = op.const([0, groups, C // groups, *S]), op.const([0, C, *S])
    axes = list(range(2, 3 + len(S)))
    xhat, deviation = _normalized(op, op("Reshape", X, apart), axes, node.attr("epsilon", 1e-5))
    image = list(range(2, 2 + len(S)))
    g = op("Reshape", op("Mul", dY, _per_channel(op, scale, image)), apart)
    dX = op("Reshape", _input_gradient(op, g, xhat, deviation, axes), together)
    dscale = op.sum(op("Mul", dY, op("Reshape", xhat, together)), [0, *image])
    return [dX, dscale, op.sum(dY, [0, *image])]


@gradient("BatchNormalization")
def batch_normalization(op: GraphBuilder, node: GraphNode, dY: Value, *unused: Value | None) -> Adjoints:
    """Y = scale (X - mean) / deviation + bias, all but X (C,); mean and variance the batch's, or fixed ones.

    With n elements a channel, and sums over all of them, d = dscale = sum(dY (X - mean)) / deviation:

      fixed   dX = dY scale / deviation
      batch   dX = (dY - sum(dY) / n - (X - mean) d / (n deviation)) scale / deviation

    The second is a dY + (b (X - mean) + c) with a, b, c one number a channel; the bracket is itself a
    normalization, which the runtime computes in one pass.
    """
    if node.wanted[3] or node.wanted[4]:
        raise ExportError(f"node {node}: its statistics cannot be trained")
    X, scale, _, mean, variance = node.inputs
    training = node.attr("training_mode", 0)
    if training and node.attr("momentum", 0.9) != 0:
        raise ExportError(f"node {node}: the rule reads the batch's statistics from the node, with momentum 0")
    if training:
        mean, variance = node.outputs[1:3]
    image = list(range(2, len(op.shape(X))))
    every = [0, *image]
    deviation = op("Sqrt", op("Add", variance, op.like(variance, node.attr("epsilon", 1e-5))))
    slope = op("Div", scale, deviation)
    dX = op("Mul", dY, _per_channel(op, slope, image))
    dbias = op.sum(dY, every)
    centred = op("Sub", X, _per_channel(op, mean, image))
    dscale = op("Div", op.sum(op("Mul", dY, centred), every), deviation)
    if training:
        (C, *_) = op.sample(X)
        share = op("Mul", slope, op("Div", op.like(X, -C), op("CastLike", op("Size", X), X)))
        zeros, ones = (op.const(np.full((C,), v), op.dtype(scale)) for v in (0, 1))
        b, c = op("Mul", op("Div", dscale, deviation), share), op("Mul", dbias, share)
        dX = op("Add", dX, op("BatchNormalization", centred, b, c, zeros, ones, epsilon=0.0))
    return [dX, dscale, dbias, None, None]


@gradient("Dropout")
def dropout(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Dropout is the identity here: in training `export.training.modes` writes a product with a mask instead."""
    mode = node.constant(2) if node.given(2) else None
    if node.given(2) and (mode is None or mode.any()):
        raise ExportError(f"node {node}: Dropout that draws its own mask has no gradient rule")
    return [dY, None, None][: len(node.inputs)]


def _normalized(op: GraphBuilder, X: Value, axes: list[int], epsilon: float) -> tuple[Value, Value]:
    """(xhat, deviation), the axes kept at length 1."""
    at = op.const(axes)
    centred = op("Sub", X, op("ReduceMean", X, at, keepdims=1))
    variance = op("ReduceMean", op("Mul", centred, centred), at, keepdims=1)
    deviation = op("Sqrt", op("Add", variance, op.like(X, epsilon)))
    return op("Div", centred, deviation), deviation


def _input_gradient(op: GraphBuilder, g: Value, xhat: Value, deviation: Value, axes: list[int]) -> Value:
    return op("Div", _projected(op, g, xhat, axes), deviation)


def _projected(op: GraphBuilder, g: Value, xhat: Value, axes: list[int]) -> Value:
    """G without its mean and without its part along xhat."""
    at = op.const(axes)
    slope = op("Mul", xhat, op("ReduceMean", op("Mul", g, xhat), at, keepdims=1))
    return op("Sub", op("Sub", g, op("ReduceMean", g, at, keepdims=1)), slope)


def _per_channel(op: GraphBuilder, value: Value, image: list[int]) -> Value:
    """(C,) -> (C, 1, 1, ...), to broadcast over an image."""
    return op("Unsqueeze", value, op.const([i - 1 for i in image])) if image else value
