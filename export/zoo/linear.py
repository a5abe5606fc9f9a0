"""Softmax regression: one linear layer, the usual head on a frozen backbone. No argument."""

from export.graph.builder import Value
from export.zoo import Layers, no_argument


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Takes no argument."""
    no_argument("linear", argument)
    return layers.linear(layers.flatten(layers.input), layers.classes, "output")
