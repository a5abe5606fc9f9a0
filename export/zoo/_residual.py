"""Residual networks for small images (He et al. 2016, section 4.2): blocks, and stages of 16, 32, 64 channels."""

from export.errors import ExportError
from export.graph.builder import Value
from export.zoo import Layers

PLANES = (16, 32, 64)


def stem(layers: Layers) -> Value:
    """The first convolution, 3x3 to 16 channels; FedGKT uploads its output."""
    if len(layers.sample) != 3:
        raise ExportError(f"residual networks need images (channels, height, width); got {layers.sample}")
    x = layers.conv(layers.input, 16, 3, "stem.conv", pad=1, bias=False)
    return layers.call(layers.relu(layers.batch_norm(x, "stem.norm")), "stem")


def basic(layers: Layers, x: Value, planes: int, stride: int, name: str) -> Value:
    """Two 3x3 convolutions beside a shortcut."""
    y = layers.conv(x, planes, 3, f"{name}.conv1", pad=1, stride=stride, bias=False)
    y = layers.relu(layers.batch_norm(y, f"{name}.norm1"))
    y = layers.conv(y, planes, 3, f"{name}.conv2", pad=1, bias=False)
    y = layers.batch_norm(y, f"{name}.norm2")
    return layers.relu(layers.op("Add", y, _shortcut(layers, x, planes, stride, name)))


def bottleneck(layers: Layers, x: Value, planes: int, stride: int, name: str) -> Value:
    """1x1 down, 3x3, 1x1 up to four times the planes, beside a shortcut."""
    y = layers.conv(x, planes, 1, f"{name}.conv1", bias=False)
    y = layers.relu(layers.batch_norm(y, f"{name}.norm1"))
    y = layers.conv(y, planes, 3, f"{name}.conv2", pad=1, stride=stride, bias=False)
    y = layers.relu(layers.batch_norm(y, f"{name}.norm2"))
    y = layers.conv(y, 4 * planes, 1, f"{name}.conv3", bias=False)
    y = layers.batch_norm(y, f"{name}.norm3")
    return layers.relu(layers.op("Add", y, _shortcut(layers, x, 4 * planes, stride, name)))


def _shortcut(layers: Layers, x: Value, channels: int, stride: int, name: str) -> Value:
    if stride == 1 and layers.shape(x)[0] == channels:
        return x
    x = layers.conv(x, channels, 1, f"{name}.shortcut.conv", stride=stride, bias=False)
    return layers.batch_norm(x, f"{name}.shortcut.norm")


def basic_stages(layers: Layers, depth: int) -> Value:
    """Stem, three stages of `depth` basic blocks, mean, logits."""
    x = stem(layers)
    for stage, planes in enumerate(PLANES, start=1):
        for i in range(depth):
            x = basic(layers, x, planes, 2 if stage > 1 and i == 0 else 1, f"stage{stage}.{i}")
    return layers.linear(layers.call(layers.average(x), "embedding"), layers.classes, "output")


def bottleneck_stages(layers: Layers, depth: int) -> Value:
    """Stem, three stages of `depth` bottlenecks, mean, logits."""
    x = stem(layers)
    for stage, planes in enumerate(PLANES, start=1):
        for i in range(depth):
            x = bottleneck(layers, x, planes, 2 if stage > 1 and i == 0 else 1, f"stage{stage}.{i}")
    return layers.linear(layers.call(layers.average(x), "embedding"), layers.classes, "output")
