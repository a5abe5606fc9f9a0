"""Multi-layer perceptron: Linear + ReLU per hidden width, then Linear. Argument: widths, "256-128"."""

from export.graph.builder import Value
from export.zoo import Layers, widths


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits."""
    x = layers.flatten(layers.input)
    for i, width in enumerate(widths(argument, (256, 128)), start=1):
        x = layers.relu(layers.linear(x, width, f"hidden{i}"))
    return layers.linear(x, layers.classes, "output")
