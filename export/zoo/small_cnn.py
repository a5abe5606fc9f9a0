"""The small CNN of the benchmarks: two 3x3 convolutions (16, 32 channels), each with 2x2 max-pooling.

Argument: widths of hidden linear layers before the logits, e.g. "64"; none if absent.
"""

from export.graph.builder import Value
from export.zoo import Layers, widths


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits."""
    x = layers.max_pool(layers.relu(layers.conv(layers.input, 16, 3, "conv1", pad=1)), 2)
    x = layers.max_pool(layers.relu(layers.conv(x, 32, 3, "conv2", pad=1)), 2)
    x = layers.flatten(x)
    for i, width in enumerate(widths(argument, ()), start=1):
        x = layers.relu(layers.linear(x, width, f"hidden{i}"))
    return layers.linear(x, layers.classes, "output")
