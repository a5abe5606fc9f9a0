"""ResNet-56 with bottlenecks, six a stage, as FedGKT uses it (He, Annavaram, Avestimehr 2020).

`edge-export zoo:resnet56 --split-at stem --edge zoo:gkt-edge` gives FedGKT's pair: 10,586 parameters and
9.62 million MACs on the device, 591,322 and 87.2 million on the server (3x32x32 images, ten classes).
"""

from export.graph.builder import Value
from export.zoo import Layers, no_argument
from export.zoo._residual import bottleneck_stages


def build(layers: Layers, argument: str) -> Value:
    """Append the layers and return the logits. Takes no argument."""
    no_argument("resnet56", argument)
    return bottleneck_stages(layers, 6)
