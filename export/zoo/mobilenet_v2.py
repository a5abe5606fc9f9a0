"""MobileNetV2 (Sandler et al. 2018): inverted residuals, ReLU6. Argument: the width multiplier, 0.35 if absent.

Images under 64 pixels are halved two times fewer (stem and second stage at stride 1), as is usual for CIFAR.
Channels are rounded to multiples of 8, never down by more than a tenth; the last convolution keeps 1280.
"""

from export.errors import ExportError
from export.graph.builder import Value
from export.zoo import Layers, number

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""expansion, channels, repetitions, stride of the first"""
LAST = 1280


def build(layers: Layers, argument: str) -> Value:
    """Append the stem, seventeen inverted residuals, a 1x1 convolution and the mean, and return the logits."""
    width = number(argument, 0.35)
    if len(layers.sample) != 3:
        raise ExportError(f"mobilenet-v2 needs images (channels, height, width); got {layers.sample}")
    small = min(layers.sample[1:]) < 64
    x = layers.conv(layers.input, rounded(32 * width), 3, "stem.conv", pad=1, stride=1 if small else 2, bias=False)
    x = relu6(layers, layers.batch_norm(x, "stem.norm"))
    block = 0
    for stage, (expansion, channels, repetitions, stride) in enumerate(STAGES):
        for i in range(repetitions):
            step = stride if i == 0 and not (small and stage == 1) else 1
            x = inverted(layers, x, expansion, rounded(channels * width), step, f"block{block}")
            block += 1
    x = layers.conv(x, max(LAST, rounded(LAST * width)), 1, "last.conv", bias=False)
    x = relu6(layers, layers.batch_norm(x, "last.norm"))
    return layers.linear(layers.call(layers.average(x), "embedding"), layers.classes, "output")


def inverted(layers: Layers, x: Value, expansion: int, channels: int, stride: int, name: str) -> Value:
    """1x1 up, 3x3 depthwise, 1x1 down without activation, and a shortcut where shapes allow."""
    inputs = layers.shape(x)[0]
    wide, y = inputs * expansion, x
    if expansion > 1:
        y = layers.conv(y, wide, 1, f"{name}.expand.conv", bias=False)
        y = relu6(layers, layers.batch_norm(y, f"{name}.expand.norm"))
    y = layers.conv(y, wide, 3, f"{name}.depthwise.conv", pad=1, stride=stride, group=wide, bias=False)
    y = relu6(layers, layers.batch_norm(y, f"{name}.depthwise.norm"))
    y = layers.conv(y, channels, 1, f"{name}.project.conv", bias=False)
    y = layers.batch_norm(y, f"{name}.project.norm")
    return layers.op("Add", x, y) if stride == 1 and inputs == channels else y


def relu6(layers: Layers, x: Value) -> Value:
    """min(max(x, 0), 6)."""
    return layers.op("Clip", x, layers.op.like(x, 0), layers.op.like(x, 6))


def rounded(channels: float) -> int:
    """To a multiple of 8, at least 8, and not more than a tenth below `channels`."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8
