"""Softmax regression: one linear layer, the usual head on a frozen backbone. No argument."""

from export.graph.builder import Value
from export.zoo import no_argument
from export.zoo._layers import Layers


def build(layers: Layers, argument: str) -> Value:
    """Takes no argument."""
    no_argument("linear", argument)
    return layers.linear(layers.flatten(layers.input), layers.classes, "output")
