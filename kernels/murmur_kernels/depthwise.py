"""Finds depthwise convolutions over images, and their gradients, in a training graph of standard operators."""

from murmur_kernels.graph import Graph
from murmur_kernels.protobuf import Node

VIEWS = ("Reshape", "Pad", "Transpose")
"""what may be between a value and its product with patches"""
SUMS = ("ReduceSum", "Reshape", "Squeeze", "Unsqueeze", "Concat", "Transpose")
"""what may be between the product and the gradient"""


def replacement(graph: Graph, node: Node) -> Node | None:
    """Return what replaces a Conv or ConvTranspose; for patches that a filter gradient is made of, the gradient."""
    if node.op not in ("Conv", "ConvTranspose") or len(node.inputs) != 2:
        return None
    if node.inputs[1] in graph.constants:
        return _filter_gradient(graph, node) if node.op == "Conv" else None
    if not _depthwise(graph, node):
        return None
    name = "murmur.DepthwiseConv" if node.op == "Conv" else "murmur.DepthwiseInputGradient"
    return Node(name, node.inputs, node.outputs, _geometry(node))


def _depthwise(graph: Graph, node: Node) -> bool:
    shape = graph.shape(node.inputs[1])
    plain = not node.attributes.keys() & {"auto_pad", "output_shape"}
    return (
        plain and len(shape) == 4 and 0 not in shape and shape[0] == node.attributes.get("group", 1) and shape[1] == 1
    )


def _geometry(node: Node) -> dict[str, int]:
    read = node.attributes
    pads, strides = read.get("pads", [0] * 4), read.get("strides", [1, 1])
    dilations, extra = read.get("dilations", [1, 1]), read.get("output_padding", [0, 0])
    names = ("top", "left", "bottom", "right", "stride_h", "stride_w", "dilation_h", "dilation_w", "extra_h", "extra_w")
    return dict(zip(names, [*pads, *strides, *dilations, *extra], strict=True))


def _filter_gradient(graph: Graph, patches: Node) -> Node | None:
    """From patches of X, cut by one-hot filters, to the sum of their products with one and the same dY."""
    X = patches.inputs[0]
    forward = [n for n in graph.consumers[X] if n.inputs[0] == X and n.op in ("Conv", "ConvTranspose")]
    forward = [n for n in forward if n.inputs[1] not in graph.constants and _depthwise(graph, n)]
    if len(forward) != 1 or len(forward[0].inputs) != 2:
        return None
    shape = graph.shape(forward[0].inputs[1])
    if patches.attributes.get("group", 1) != shape[0]:
        return None
    factors: set[str] = set()
    ends = _products(graph, patches.outputs[0], shape, factors)
    if len(ends) != 1 or len(factors) != 1 or "" in ends:
        return None
    sizes = {**_as_convolution(forward[0], shape), "kernel_h": shape[2], "kernel_w": shape[3]}
    return Node("murmur.DepthwiseFilterGradient", [X, *factors], [*ends], sizes)


def _as_convolution(node: Node, shape: list[int]) -> dict[str, int]:
    """The geometry of a convolution, which at stride 1 may be written as a transposed one."""
    geometry = _geometry(node)
    if node.op == "ConvTranspose":
        reach = {"h": geometry["dilation_h"] * (shape[2] - 1), "w": geometry["dilation_w"] * (shape[3] - 1)}
        for side, axis in (("top", "h"), ("left", "w"), ("bottom", "h"), ("right", "w")):
            geometry[side] = reach[axis] - geometry[side]
    return geometry


def _products(graph: Graph, value: str, shape: list[int], factors: set[str]) -> set[str]:
    """Follow patches to their products; note the other factor of each. Returns where the sums end; "" if elsewhere."""
    ends: set[str] = set()
    for node in graph.consumers[value]:
        if node.op in ("Reshape", "Transpose"):
            ends |= _products(graph, node.outputs[0], shape, factors)
        elif node.op in ("Mul", "MatMul"):
            (other,) = [v for v in node.inputs if v != value] or [value]
            factors.add(_root(graph, other))
            ends |= _sums(graph, node.outputs[0], shape)
        else:
            ends.add("")
    return ends


def _sums(graph: Graph, value: str, shape: list[int]) -> set[str]:
    maker = graph.by(value, "Reshape")
    if maker is not None and graph.integers(maker.inputs[1]) == shape:
        return {value}
    nodes = graph.consumers[value]
    if not nodes or any(node.op not in SUMS for node in nodes):
        return {""}
    return set().union(*(_sums(graph, node.outputs[0], shape) for node in nodes))


def _root(graph: Graph, value: str) -> str:
    node = graph.producer.get(value)
    while node is not None and node.op in VIEWS:
        value = node.inputs[0]
        node = graph.producer.get(value)
    return value
