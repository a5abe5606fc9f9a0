"""LeNet-5 (LeCun et al. 1998) in its usual modern form: ReLU, max-pooling.

conv 6 (5x5, padded), pool, conv 16 (5x5), pool, linear 120, linear 84, logits. On images of less
than 28 pixels the second convolution is padded too, so that 8x8 digits pass.
"""

from export.graph.builder import Value
from export.zoo import Layers, widths


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Argument: widths of the linear layers, "120-84" if absent."""
    x = layers.max_pool(layers.relu(layers.conv(layers.input, 6, 5, "conv1", pad=2)), 2)
    pad = 0 if min(layers.shape(x)[1:]) >= 14 else 2
    x = layers.max_pool(layers.relu(layers.conv(x, 16, 5, "conv2", pad=pad)), 2)
    x = layers.flatten(x)
    for i, width in enumerate(widths(argument, (120, 84)), start=1):
        x = layers.relu(layers.linear(x, width, f"hidden{i}"))
    return layers.linear(x, layers.classes, "output")
