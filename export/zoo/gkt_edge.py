"""FedGKT's device-side network (its "ResNet-8"): the stem, two bottlenecks of 16 planes, mean, logits.

The stem's output, called `stem`, is what the server trains on; the bottlenecks serve the local classifier
alone (He, Annavaram, Avestimehr 2020, as released).
"""

from export.graph.builder import Value
from export.zoo import Layers, no_argument
from export.zoo._residual import bottleneck, stem


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Takes no argument."""
    no_argument("gkt-edge", argument)
    x = stem(layers)
    for i in range(2):
        x = bottleneck(layers, x, 16, 1, f"local.{i}")
    return layers.linear(layers.average(x), layers.classes, "output")
