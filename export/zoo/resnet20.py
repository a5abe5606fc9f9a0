"""ResNet-20 with basic blocks, three a stage (He et al. 2016, section 4.2)."""

from export.graph.builder import Value
from export.zoo import Layers, no_argument
from export.zoo._residual import basic_stages


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Takes no argument."""
    no_argument("resnet20", argument)
    return basic_stages(layers, 3)
