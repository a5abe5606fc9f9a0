"""Temporal convolutional network (Bai, Kolter, Koltun 2018) for sensor windows (channels, time).

Residual blocks of two causal convolutions of 3 taps, dilated 1, 2, 4, ...: nothing looks ahead. Mean over
time, logits. Argument: channels of each block, "32-32-32-32" if absent.
"""

from export.errors import ExportError
from export.graph.builder import Value
from export.zoo import Layers, widths

TAPS = 3


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits.

    The reach is 1 + 2 (TAPS - 1) (2^blocks - 1) samples: 61 with four blocks.
    """
    if len(layers.sample) != 2:
        raise ExportError(f"tcn needs windows (channels, time), as in --shape 9x128; got {layers.sample}")
    x = layers.input
    for i, channels in enumerate(widths(argument, (32, 32, 32, 32))):
        x = block(layers, x, channels, 2**i, f"block{i + 1}")
    return layers.linear(layers.call(layers.average(x), "embedding"), layers.classes, "output")


def block(layers: Layers, x: Value, channels: int, dilation: int, name: str) -> Value:
    """Two causal convolutions beside a shortcut."""
    causal = (dilation * (TAPS - 1), 0)
    y = layers.relu(layers.conv(x, channels, TAPS, f"{name}.conv1", pad=causal, dilation=dilation))
    y = layers.relu(layers.conv(y, channels, TAPS, f"{name}.conv2", pad=causal, dilation=dilation))
    shortcut = x if layers.shape(x)[0] == channels else layers.conv(x, channels, 1, f"{name}.shortcut")
    return layers.relu(layers.op("Add", y, shortcut))
