"""The geometry of a sliding window, shared by Conv and the pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder
from export.graph.node import Node


@dataclass(frozen=True)
class Window:
    """Kernel, strides, dilations (one each a spatial axis) and pads (all begins, then all ends)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @classmethod
    def of(cls, node: Node, kernel: Sequence[int]) -> "Window":
        """Read the attributes of `node`; refuse what `explicit` could not settle."""
        if node.attr("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            raise ExportError(f"node {node}: auto_pad={node.attr('auto_pad', '')} is not supported; write pads")
        n = len(kernel)
        return cls(
            tuple(kernel),
            tuple(node.attr("strides", [1] * n)),
            tuple(node.attr("dilations", [1] * n)),
            tuple(node.attr("pads", [0] * 2 * n)),
        )

    @property
    def attributes(self) -> dict[str, Any]:
        """As operator attributes, without the kernel."""
        return {"strides": self.strides, "dilations": self.dilations, "pads": self.pads}

    @property
    def tiles(self) -> bool:
        """Whether the windows lie side by side: no overlap, no gap, no padding."""
        return self.strides == self.kernel and set(self.dilations) <= {1} and not any(self.pads)

    @property
    def pointwise(self) -> bool:
        """Whether every window is one cell, and every cell is read."""
        return self.tiles and set(self.kernel) == {1}

    def positions(self, size: Sequence[int]) -> tuple[int, ...]:
        """How many windows there are along each axis of an image."""
        n = len(self.kernel)
        return tuple(
            (s + self.pads[i] + self.pads[n + i] - (self.kernel[i] - 1) * self.dilations[i] - 1) // self.strides[i] + 1
            for i, s in enumerate(size)
        )

    def skipped(self, size: Sequence[int], out: Sequence[int]) -> tuple[int, ...]:
        """How many of the last rows, per axis, no window reaches."""
        n = len(self.kernel)
        rows = []
        for i, (s, o) in enumerate(zip(size, out, strict=True)):
            reach = (o - 1) * self.strides[i] + (self.kernel[i] - 1) * self.dilations[i] + 1
            rows.append(s + self.pads[i] + self.pads[n + i] - reach)
        return tuple(rows)


def explicit(op: GraphBuilder, proto: onnx.NodeProto) -> None:
    """Write out the padding that a node leaves to the runtime: `auto_pad`, `ceil_mode`, `output_shape`."""
    node = Node(op, proto, [])
    mode = node.attr("auto_pad", "NOTSET")
    same, ceil, shape = mode.startswith("SAME"), node.attr("ceil_mode", 0), node.attr("output_shape", None)
    if not (same or ceil or shape):
        return
    size = op.sample(node.inputs[0])[1:]
    n = len(size)
    kernel = node.attr("kernel_shape", None) or op.sample(node.inputs[1])[1:]
    strides, dilations = (node.attr(k, [1] * n) for k in ("strides", "dilations"))
    axes = list(zip(size, strides, [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)], strict=True))
    if proto.op_type == "ConvTranspose":
        extra = list(node.attr("output_padding", [0] * n))
        wanted = shape or [s * t for s, t, _ in axes]
        missing = [(s - 1) * t + e + r - w for (s, t, r), e, w in zip(axes, extra, wanted, strict=True)]
        if min(missing) < 0:  # what no window reaches is left empty at the end
            extra = [e + max(0, -m) for e, m in zip(extra, missing, strict=True)]
            missing = [max(0, m) for m in missing]
            _write(proto, output_padding=extra)
    elif same:
        missing = [max(0, (-(-s // t) - 1) * t + r - s) for s, t, r in axes]
    else:
        _write(proto, pads=_ceiling(node, axes))
        return
    less, more = [m // 2 for m in missing], [m - m // 2 for m in missing]
    _write(proto, pads=more + less if (mode == "SAME_LOWER") != bool(shape and not same) else less + more)


def _ceiling(node: Node, axes: Sequence[tuple[int, int, int]]) -> list[int]:
    """As much padding at the ends as lets the last, incomplete window in; one that lies all in padding is out."""
    n = len(axes)
    pads = list(node.attr("pads", [0] * 2 * n))
    if node.op_type == "AveragePool" and node.attr("count_include_pad", 0):
        raise ExportError(f"node {node}: ceil_mode with count_include_pad is not supported; pad explicitly")
    for i, (size, stride, reach) in enumerate(axes):
        windows = -(-(size + pads[i] + pads[n + i] - reach) // stride) + 1
        if (windows - 1) * stride >= size + pads[i]:
            windows -= 1
        pads[n + i] = max(pads[n + i], (windows - 1) * stride + reach - size - pads[i])
    return pads


def _write(proto: onnx.NodeProto, **settled: Sequence[int]) -> None:
    """Set attributes, and drop what asked for the padding."""
    kept = [a for a in proto.attribute if a.name not in {"auto_pad", "ceil_mode", "output_shape", *settled}]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    proto.attribute.extend(helper.make_attribute(name, list(value)) for name, value in settled.items())


def one_hot(channels: int, kernel: tuple[int, ...]) -> Array:
    """Filters (channels * k, 1, *kernel) that copy each cell of the window to a channel of its own."""
    k = prod(kernel)
    return np.tile(np.eye(k).reshape(k, 1, *kernel), (channels, 1, *(1 for _ in kernel)))
