"""Write out the padding of windows that a node leaves to the runtime: `auto_pad`, `ceil_mode`, `output_shape`."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.builder import GraphBuilder
from export.graph.node import GraphNode


@dataclass(frozen=True)
class WindowAxis:
    """One spatial axis of an image under windows."""

    size: int
    stride: int
    reach: int
    """cells from the first of a window to its last, both counted"""


def write_padding(op: GraphBuilder, proto: onnx.NodeProto) -> None:
    """Give a convolution or pool the `pads` that its other attributes ask for.

    Args:
        op: the graph, which knows the shapes of the node's operands.
        proto: the node, which is changed.

    Raises:
        ExportError: the padding cannot be written as numbers.
    """
    node = GraphNode(op, proto, [])
    same, shape = node.attr("auto_pad", "NOTSET").startswith("SAME"), node.attr("output_shape", None)
    if not (same or shape or node.attr("ceil_mode", 0)):
        return
    axes = _axes(op, node)
    if proto.op_type == "ConvTranspose":
        _write_transposed(node, axes)
    elif same:
        missing = [max(0, (-(-a.size // a.stride) - 1) * a.stride + a.reach - a.size) for a in axes]
        _write(proto, pads=_halves(node, missing))
    else:
        _write(proto, pads=_ceiling(node, axes))


def _axes(op: GraphBuilder, node: GraphNode) -> list[WindowAxis]:
    sizes = op.sample(node.inputs[0])[1:]
    kernel = node.attr("kernel_shape", None) or op.sample(node.inputs[1])[1:]
    strides, dilations = (node.attr(k, [1] * len(sizes)) for k in ("strides", "dilations"))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return [WindowAxis(*numbers) for numbers in zip(sizes, strides, reach, strict=True)]


def _write_transposed(node: GraphNode, axes: Sequence[WindowAxis]) -> None:
    """Pad a ConvTranspose so that its output has the shape asked for; cells that no window reaches are at the end."""
    extra = list(node.attr("output_padding", [0] * len(axes)))
    target = node.attr("output_shape", None) or [a.size * a.stride for a in axes]
    missing = [(a.size - 1) * a.stride + e + a.reach - t for a, e, t in zip(axes, extra, target, strict=True)]
    if min(missing) < 0:
        extra = [e + max(0, -m) for e, m in zip(extra, missing, strict=True)]
        missing = [max(0, m) for m in missing]
        _write(node.proto, output_padding=extra)
    _write(node.proto, pads=_halves(node, missing))


def _halves(node: GraphNode, missing: Sequence[int]) -> list[int]:
    """Padding on both sides; an odd cell goes to the end, or to the beginning where the specification says so."""
    less, more = [m // 2 for m in missing], [m - m // 2 for m in missing]
    mode = node.attr("auto_pad", "NOTSET")
    begins_with_more = mode == "SAME_LOWER" or not mode.startswith("SAME")
    return more + less if begins_with_more else less + more


def _ceiling(node: GraphNode, axes: Sequence[WindowAxis]) -> list[int]:
    """As much padding at the ends as lets the last, incomplete window in; one that lies all in padding is left out."""
    n = len(axes)
    pads = list(node.attr("pads", [0] * 2 * n))
    if node.op_type == "AveragePool" and node.attr("count_include_pad", 0):
        raise ExportError(f"node {node}: ceil_mode with count_include_pad is not supported; pad explicitly")
    for i, axis in enumerate(axes):
        windows = -(-(axis.size + pads[i] + pads[n + i] - axis.reach) // axis.stride) + 1
        if (windows - 1) * axis.stride >= axis.size + pads[i]:
            windows -= 1
        pads[n + i] = max(pads[n + i], (windows - 1) * axis.stride + axis.reach - axis.size - pads[i])
    return pads


def _write(proto: onnx.NodeProto, **attributes: Sequence[int]) -> None:
    """Set attributes, and drop those that asked for the padding."""
    kept = [a for a in proto.attribute if a.name not in {"auto_pad", "ceil_mode", "output_shape", *attributes}]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    proto.attribute.extend(helper.make_attribute(name, list(value)) for name, value in attributes.items())
