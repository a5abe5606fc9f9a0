"""MaxPool(Relu(x)) -> Relu(MaxPool(x)): the same values, with the ReLU and its mask at pooled size.

max and relu commute because relu never falls. The gradient stays the same subgradient: where a
window's maximum is positive its cells are the same before and after, elsewhere it is zero.

Measured on the small CNN, one thread: step time over PyTorch eager's 0.53 -> 0.50 at batch 8 and
0.61 -> 0.57 at batch 32 (`edge-bench step`).
"""

from collections import Counter
from collections.abc import Collection, Sequence

import onnx


def apply(nodes: Sequence[onnx.NodeProto], outputs: Collection[str]) -> list[onnx.NodeProto]:
    """Swap every such pair whose ReLU nobody else reads."""
    readers = Counter(x for node in nodes for x in node.input)
    relu_of = {n.output[0]: n for n in nodes if n.op_type == "Relu" and readers[n.output[0]] == 1}
    moved: list[onnx.NodeProto] = []
    for node in nodes:
        relu = relu_of.get(node.input[0]) if node.op_type == "MaxPool" and len(node.output) == 1 else None
        if relu is None or relu.output[0] in outputs:
            moved.append(node)
            continue
        moved.remove(relu)
        pool, after = onnx.NodeProto(), onnx.NodeProto()
        pool.CopyFrom(node)
        after.CopyFrom(relu)
        pool.input[0], pool.output[0] = relu.input[0], relu.output[0]
        after.input[0], after.output[0] = relu.output[0], node.output[0]
        moved += [pool, after]
    return moved
