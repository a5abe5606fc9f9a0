"""The geometry of a sliding window, shared by Conv and the pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from export.errors import ExportError
from export.graph.builder import Array
from export.graph.node import GraphNode


@dataclass(frozen=True)
class Window:
    """Kernel, strides, dilations (one each a spatial axis) and pads (all begins, then all ends)."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...]

    @classmethod
    def of(cls, node: GraphNode, kernel: Sequence[int]) -> "Window":
        """Read the attributes of `node`; refuse what `export.graph.padding` could not settle."""
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


def one_hot(channels: int, kernel: tuple[int, ...]) -> Array:
    """Filters (channels * k, 1, *kernel) that copy each cell of the window to a channel of its own."""
    k = prod(kernel)
    return np.tile(np.eye(k).reshape(k, 1, *kernel), (channels, 1, *(1 for _ in kernel)))
