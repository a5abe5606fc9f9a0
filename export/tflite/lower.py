"""Lower a graph of ONNX operators with known shapes to one of TFLite operators.

ONNX images are (N, C, H, W), TFLite's (N, H, W, C). Here a value is a tensor *and the order its axes have in
memory*: Transpose only renames axes, element-wise operators work in whatever order their operands are in, and data is
moved only where an operator insists on an order that the value does not have yet (and then once).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Value
from export.graph.node import GraphNode
from export.tflite.flatbuffer import Subgraph

Order = tuple[int, ...]
"""entry k: which axis of the value is the k-th in memory"""
Lower = Callable[["Lowering", GraphNode], None]

OPERATORS: dict[str, Lower] = {}
"""How each ONNX operator is lowered; `export.tflite.operators` fills it."""


def lowers(*op_types: str) -> Callable[[Lower], Lower]:
    """Declare how these operators are lowered.

    Args:
        op_types: operators of ONNX's standard domain.

    Returns:
        A decorator for `function(to, node)`, which asks `to` for its operands, appends to `to.graph`, and keeps the
        result.
    """

    def declare(function: Lower) -> Lower:
        OPERATORS.update(dict.fromkeys(op_types, function))
        return function

    return declare


@dataclass(frozen=True)
class Stored:
    """A value in memory."""

    tensor: int
    order: Order


class Lowering:
    """A graph that is being lowered.

    Args:
        op: the ONNX graph, with all shapes known.
        graph: the TFLite graph to append to.
    """

    def __init__(self, op: GraphBuilder, graph: Subgraph) -> None:
        self.op, self.graph = op, graph
        self._stored: dict[Value, list[Stored]] = {}

    def run(self) -> None:
        """Lower every node."""
        for proto in self.op.nodes:
            node = GraphNode(self.op, proto, [])
            if node.op_type not in OPERATORS:
                raise ExportError(
                    f"--tflite: node {node} has no TFLite operator; there are: {', '.join(sorted(OPERATORS))}"
                )
            OPERATORS[node.op_type](self, node)

    def shape(self, value: Value) -> tuple[int, ...]:
        """The value's dimensions, all known."""
        shape = self.op.shape(value)
        if None in shape:
            raise ExportError(f"--tflite: the shape of '{value}', {list(shape)}, depends on more than the batch sizes")
        return tuple(d for d in shape if d is not None)

    def dtype(self, value: Value) -> Any:
        """The element type in the file: integers have 32 bits."""
        dtype = self.op.dtype(value)
        return np.dtype(np.int32) if dtype.kind in "iu" else dtype

    def constant(self, value: Value) -> Array | None:
        """The value where it is known at export time."""
        return self.op.constants.get(value)

    def order(self, value: Value) -> Order:
        """The order of the value's axes in memory; ONNX's own for constants."""
        return self._stored[value][0].order if value in self._stored else natural(len(self.shape(value)))

    def keep(self, value: Value, tensor: int, order: Order | None = None) -> None:
        """Record where a node's result is, and in which order of axes."""
        order = natural(len(self.shape(value))) if order is None else order
        assert self.graph.shape(tensor) == tuple(self.shape(value)[axis] for axis in order), value
        self._stored.setdefault(value, []).append(Stored(tensor, order))

    def alias(self, value: Value, of: Value, order_of: Callable[[Order], Order]) -> None:
        """Record that `value` is `of` with its axes renamed."""
        if (array := self.constant(of)) is not None:
            self.keep(value, self._constant(array, natural(array.ndim)), order_of(natural(array.ndim)))
            return
        for stored in list(self._stored[of]):
            self.keep(value, stored.tensor, order_of(stored.order))

    def tensor(self, value: Value, order: Order | None = None) -> int:
        """The value in memory in this order of axes; ONNX's own by default."""
        order = natural(len(self.shape(value))) if order is None else order
        if (array := self.constant(value)) is not None:
            return self._constant(array, order)
        known = self._stored[value]
        for stored in known:
            if stored.order == order:
                return stored.tensor
        moved = self.transposed(known[0].tensor, [known[0].order.index(axis) for axis in order])
        known.append(Stored(moved, order))
        return moved

    def aligned(self, value: Value, rank: int, order: Order) -> int:
        """The value as an operand of a result of `rank` axes in `order`: axes of size 1 put before its own."""
        missing = rank - len(self.shape(value))
        if not missing:
            return self.tensor(value, order)
        own = tuple(axis - missing for axis in order if axis >= missing)
        sizes = (1,) * missing + self.shape(value)
        if not self.shape(value):
            return self.tensor(value)
        return self.reshaped(self.tensor(value, own), [sizes[axis] for axis in order])

    def reshaped(self, tensor: int, shape: Sequence[int]) -> int:
        """The same elements under another shape."""
        if self.graph.shape(tensor) == tuple(shape):
            return tensor
        sizes = self.graph.constant(list(shape))
        return self.graph.emit(
            "RESHAPE", [tensor, sizes], shape, self.graph.dtype(tensor), options="Reshape", newShape=list(shape)
        )

    def transposed(self, tensor: int, axes: Sequence[int]) -> int:
        """Axes in another order: axis k of the result is axis axes[k]."""
        sizes = self.graph.shape(tensor)
        shape = [sizes[a] for a in axes]
        if [a for a in axes if sizes[a] != 1] == [a for a in range(len(sizes)) if sizes[a] != 1]:
            return self.reshaped(tensor, shape)
        permutation = self.graph.constant(list(axes))
        return self.graph.emit("TRANSPOSE", [tensor, permutation], shape, self.graph.dtype(tensor), options="Transpose")

    def _constant(self, array: Array, order: Order) -> int:
        dtype = np.int32 if array.dtype.kind in "iu" else array.dtype
        if array.dtype.kind in "iu":
            array = np.clip(array, -(2**31), 2**31 - 1)
        return self.graph.constant(array.transpose(order) if array.ndim else array, dtype)


def natural(rank: int) -> Order:
    """ONNX's own order."""
    return tuple(range(rank))
