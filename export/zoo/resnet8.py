"""ResNet-8 with basic blocks, one a stage (6 n + 2 layers with n = 1), the size of MLPerf Tiny's image model.

On 3x32x32 images with ten classes: 78,042 trained parameters, 12.5 million MACs. FedGKT's device-side
network of the same name is `gkt-edge`.
"""

from export.graph.builder import Value
from export.zoo import Layers, no_argument
from export.zoo._residual import basic_stages


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Takes no argument."""
    no_argument("resnet8", argument)
    return basic_stages(layers, 1)
