"""DS-CNN for keyword spotting (Zhang et al. 2017; MLPerf Tiny's): depthwise-separable convolutions.

Samples are spectrograms (1, frames, coefficients), 1x49x10 there. A 10x4 convolution of stride 2, four
depthwise-separable blocks, mean, logits. Argument: channels, "64" if absent.
"""

from export.graph.builder import Value
from export.zoo import Layers, widths


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits.

    Windows reach over the border as far as "same" padding with stride 2 says: more at the end.
    """
    (channels,) = widths(argument, (64,), at_most=1)
    _, *space = layers.sample if len(layers.sample) == 3 else (0, 0, 0)
    missing = [max(0, (-(-s // 2) - 1) * 2 + k - s) for s, k in zip(space, (10, 4), strict=True)]
    pads = [m // 2 for m in missing] + [m - m // 2 for m in missing]
    x = layers.conv(layers.input, channels, (10, 4), "stem.conv", pad=pads, stride=2, bias=False)
    x = layers.relu(layers.batch_norm(x, "stem.norm"))
    for i in range(1, 5):
        x = layers.conv(x, channels, 3, f"block{i}.depthwise", pad=1, group=channels, bias=False)
        x = layers.relu(layers.batch_norm(x, f"block{i}.norm1"))
        x = layers.conv(x, channels, 1, f"block{i}.pointwise", bias=False)
        x = layers.relu(layers.batch_norm(x, f"block{i}.norm2"))
    return layers.linear(layers.call(layers.average(x), "embedding"), layers.classes, "output")
