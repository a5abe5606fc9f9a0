"""Gated recurrent unit (Cho et al. 2014) over sensor windows (channels, time); the last state gives the logits.

Reset gate after the product, as in PyTorch and cuDNN. Argument: hidden units, "64" if absent.
"""

from math import sqrt

from export.errors import ExportError
from export.graph.builder import Value
from export.zoo import Layers, widths


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits.

    All weights and biases start uniform in +-1/sqrt(hidden), PyTorch's default for recurrent layers.
    """
    (hidden,) = widths(argument, (64,), at_most=1)
    if len(layers.sample) != 2:
        raise ExportError(f"gru needs windows (channels, time), as in --shape 9x128; got {layers.sample}")
    inputs, op, bound = layers.sample[0], layers.op, 1 / sqrt(hidden)
    shapes = {"weight": (1, 3 * hidden, inputs), "recurrence": (1, 3 * hidden, hidden), "bias": (1, 6 * hidden)}
    weights = [layers.parameter(f"gru.{k}", layers.uniform(s, bound)) for k, s in shapes.items()]
    steps = op("Transpose", layers.input, perm=[2, 0, 1])
    _, last = op.all("GRU", steps, *weights, outputs=2, hidden_size=hidden, linear_before_reset=1)
    x = layers.call(op("Squeeze", last, op.const([0])), "embedding")
    return layers.linear(x, layers.classes, "output")
