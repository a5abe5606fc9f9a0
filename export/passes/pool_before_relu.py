"""MaxPool(Relu(x)) -> Relu(MaxPool(x)): the same values, with the ReLU and its mask at pooled size.

Maximum and ReLU commute because ReLU is monotonic. The gradient stays the same subgradient: where a window's maximum
is positive its cells are the same before and after; elsewhere it is zero.

Measured on the small CNN, one thread: step time over PyTorch eager's 0.53 -> 0.50 at batch 8 and 0.61 -> 0.57 at
batch 32 (`edge-bench step`).
"""

import onnx

from export.graph.builder import GraphBuilder, Value
from export.graph.node import attributes
from export.graph.rewrite import Rewrite, ValueIndex


def apply(op: GraphBuilder, node: onnx.NodeProto, index: ValueIndex) -> Value | None:
    """Swap the two where nothing else reads the ReLU."""
    relu = index.sole_producer(node.input[0], "Relu")
    if relu is None or len(node.output) > 1:
        return None
    return op("Relu", op("MaxPool", relu.input[0], **attributes(node)))


REWRITE = Rewrite(frozenset({"MaxPool"}), apply)
