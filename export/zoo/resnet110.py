"""ResNet-110 with bottlenecks, twelve a stage, as FedGKT uses it; see resnet56 for the split."""

from export.graph.builder import Value
from export.zoo import Layers, no_argument
from export.zoo._residual import bottleneck_stages


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Takes no argument."""
    no_argument("resnet110", argument)
    return bottleneck_stages(layers, 12)
