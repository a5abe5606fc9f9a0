"""Images (N, H, W, C), as TFLite has them; a signal (N, C, L) is an image of height 1."""

from collections.abc import Sequence
from dataclasses import dataclass

from export.errors import ExportError
from export.graph.builder import Value
from export.graph.node import GraphNode
from export.graph.window import Window
from export.tflite.lower import Lowering

SAME, VALID = 0, 1
Pair = tuple[int, int]


@dataclass(frozen=True)
class Geometry:
    """The geometry of a window over rows and columns."""

    kernel: Pair
    strides: Pair
    dilations: Pair
    before: Pair
    after: Pair

    @classmethod
    def of(cls, node: GraphNode, kernel: tuple[int, ...]) -> "Geometry":
        """Read it from a node; a signal's window has one row."""
        if len(kernel) > 2:
            raise ExportError(f"--tflite: node {node}: images of {len(kernel)} dimensions are not supported")
        window, n = Window.of(node, kernel), len(kernel)

        def pair(values: tuple[int, ...], first: int) -> Pair:
            return (first, values[0]) if n == 1 else (values[0], values[1])

        begin, end = window.pads[:n], window.pads[n:]
        return cls(
            pair(window.kernel, 1), pair(window.strides, 1), pair(window.dilations, 1), pair(begin, 0), pair(end, 0)
        )

    @property
    def reach(self) -> Pair:
        """Cells from the first of a window to its last, less one."""
        return self.dilations[0] * (self.kernel[0] - 1), self.dilations[1] * (self.kernel[1] - 1)

    def positions(self, size: Sequence[int]) -> Pair:
        """How many windows there are along the rows and the columns of an image."""
        rows, columns = (
            (size[i] + self.before[i] + self.after[i] - self.reach[i] - 1) // self.strides[i] + 1 for i in (0, 1)
        )
        return rows, columns

    def same(self, size: Sequence[int]) -> bool:
        """Whether the padding is what TFLite calls SAME for images of this size."""
        for i in (0, 1):
            windows = -(-size[i] // self.strides[i])
            missing = max(0, (windows - 1) * self.strides[i] + self.reach[i] + 1 - size[i])
            if (self.before[i], self.after[i]) != (missing // 2, missing - missing // 2):
                return False
        return True


def spatial(shape: Sequence[int]) -> Pair:
    """(rows, columns) of (N, C, H, W), or of (N, C, L)."""
    return (shape[2], shape[3]) if len(shape) == 4 else (1, shape[2])


def image(to: Lowering, value: Value) -> int:
    """The tensor (N, H, W, C) of a value (N, C, H, W) or (N, C, L)."""
    if len(to.shape(value)) == 3:
        N, C, L = to.shape(value)
        return to.reshaped(to.tensor(value, (0, 2, 1)), (N, 1, L, C))
    return to.tensor(value, (0, 2, 3, 1))


def keep_image(to: Lowering, value: Value, tensor: int) -> None:
    """Keep a tensor (N, H, W, C) as a value (N, C, H, W) or (N, C, L)."""
    if len(to.shape(value)) == 3:
        N, C, L = to.shape(value)
        to.keep(value, to.reshaped(tensor, (N, L, C)), (0, 2, 1))
    else:
        to.keep(value, tensor, (0, 2, 3, 1))
