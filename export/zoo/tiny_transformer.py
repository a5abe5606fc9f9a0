"""A transformer encoder (Vaswani et al. 2017, normalizing first) over patches of a window or an image.

Patches of 8 samples, or 4x4 pixels, become tokens; two blocks of four-headed attention and a GELU network of
twice the width; mean over tokens, logits. Argument: the width, "32" if absent, a multiple of 4.
"""

from math import sqrt

import numpy as np

from export.errors import ExportError
from export.graph.builder import Value
from export.zoo import Layers, widths

BLOCKS, HEADS = 2, 4


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Positions are learnt and start at zero."""
    (width,) = widths(argument, (32,), at_most=1)
    if width % HEADS:
        raise ExportError(f"tiny-transformer needs a width that is a multiple of {HEADS}, not {width}")
    patch = 8 if len(layers.sample) == 2 else 4
    x = layers.conv(layers.input, width, patch, "patches", stride=patch)
    tokens = int(np.prod(layers.shape(x)[1:]))
    x = layers.op("Transpose", layers.op("Reshape", x, layers.op.const([0, width, tokens])), perm=[0, 2, 1])
    x = layers.op("Add", x, layers.parameter("positions", np.zeros((tokens, width))))
    for i in range(1, BLOCKS + 1):
        x = layers.op("Add", x, attention(layers, normalized(layers, x, f"block{i}.norm1"), f"block{i}"))
        y = layers.linear(normalized(layers, x, f"block{i}.norm2"), 2 * width, f"block{i}.up")
        x = layers.op("Add", x, layers.linear(gelu(layers, y), width, f"block{i}.down"))
    x = layers.op("ReduceMean", normalized(layers, x, "norm"), layers.op.const([1]), keepdims=0)
    return layers.linear(layers.call(x, "embedding"), layers.classes, "output")


def attention(layers: Layers, x: Value, name: str) -> Value:
    """softmax(Q K^T / sqrt(d)) V in every head, and a linear layer over the heads side by side."""
    tokens, width = layers.shape(x)
    op, d = layers.op, width // HEADS
    qkv = op("Reshape", layers.linear(x, 3 * width, f"{name}.qkv"), op.const([0, tokens, 3, HEADS, d]))
    qkv = op("Transpose", qkv, perm=[2, 0, 3, 1, 4])
    q, k, v = (op("Squeeze", part, op.const([0])) for part in op.all("Split", qkv, outputs=3, num_outputs=3, axis=0))
    scores = op("MatMul", op("Mul", q, op.like(q, 1 / sqrt(d))), op.swapped(k))
    mixed = op("Transpose", op("MatMul", op("Softmax", scores, axis=-1), v), perm=[0, 2, 1, 3])
    return layers.linear(op("Reshape", mixed, op.const([0, tokens, width])), width, f"{name}.mix")


def normalized(layers: Layers, x: Value, name: str) -> Value:
    """Layer normalization over the width; scale 1 and bias 0 at first."""
    width = layers.shape(x)[-1]
    scale, bias = (layers.parameter(f"{name}.{k}", np.full(width, v)) for k, v in (("scale", 1), ("bias", 0)))
    return layers.op("LayerNormalization", x, scale, bias, axis=-1)


def gelu(layers: Layers, x: Value) -> Value:
    """X Phi(X), written out: the operator came with a later operator set."""
    op = layers.op
    cumulative = op("Add", op("Erf", op("Mul", x, op.like(x, sqrt(0.5)))), op.like(x, 1))
    return op("Mul", op("Mul", x, op.like(x, 0.5)), cumulative)
