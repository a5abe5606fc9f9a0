"""A list of nodes under construction of whose values is known what follows from constants and from shapes."""

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Value
from export.graph.shape_folding import ShapeFolder


class FollowedGraph:
    """Nodes in their order, and the initializers that they need beside those of the model.

    Args:
        graph: the model's, of which inputs and initializers are read; the first axis of every input is free.
        opset: the operator set of the nodes.
    """

    def __init__(self, graph: onnx.GraphProto, opset: int) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self.fixed: set[Value] = set()
        """initializers and constants, weights among them"""
        self.opset = opset
        self._op = GraphBuilder(opset)
        self._folder = ShapeFolder(self._op)
        for tensor in graph.initializer:
            self._declare(tensor)
        for x in graph.input:
            if x.name not in self.fixed:
                dims = [d.dim_value if d.HasField("dim_value") else None for d in x.type.tensor_type.shape.dim]
                element = helper.tensor_dtype_to_np_dtype(x.type.tensor_type.elem_type or TensorProto.FLOAT)
                self._op.argument(x.name, element, [None, *dims[1:]][: len(dims)])

    def append(self, node: onnx.NodeProto) -> None:
        """Append a node, and follow what is known of its output."""
        self.nodes.append(node)
        if node.op_type == "Constant":
            self.fixed.add(node.output[0])
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        try:
            if not self._folder.fold(copy):
                self._folder.append(copy, self._op.append)
        except ExportError:
            pass  # an output whose type cannot be inferred: nothing that depends on it is known

    def value(self, name: Value) -> Array | None:
        """What a value is, if it follows from constants and shapes."""
        return self._op.constants.get(name)

    def size(self, name: Value, axis: int) -> int | None:
        """The size of an axis of a value, where it is known."""
        known = name in self._op.types and self._op.types[name].tensor_type.HasField("shape")
        shape = self._op.shape(name) if known else ()
        return shape[axis] if -len(shape) <= axis < len(shape) else None

    def tensor(self, name: Value, value: Any, dtype: Any = np.int64) -> Value:
        """Add an initializer."""
        return self.initializer(numpy_helper.from_array(np.array(value, dtype)), name)

    def initializer(self, tensor: onnx.TensorProto, name: Value) -> Value:
        """Add a copy of an initializer under another name."""
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.name = name
        self.tensors.append(copy)
        self._declare(copy)
        return name

    def stack(self, name: Value, values: list[Value], axis: int) -> Value:
        """Append nodes that put values side by side along a new axis."""
        rows = [self._with("Unsqueeze", value, [f"{name}/{i}"], axes=[axis])[0] for i, value in enumerate(values)]
        self.append(helper.make_node("Concat", rows, [name], name=name, axis=axis))
        return name

    def unstack(self, name: Value, value: Value, axis: int, count: int) -> list[Value]:
        """Append nodes that take a value of `count` elements along an axis apart; the axis vanishes."""
        rows = self._with("Split", value, [f"{name}/{i}/row" for i in range(count)], axis=axis, split=[1] * count)
        return [self._with("Squeeze", row, [f"{name}/{i}"], axes=[axis])[0] for i, row in enumerate(rows)]

    def _with(self, op_type: str, value: Value, outputs: list[Value], **settings: Any) -> list[Value]:
        """Append a node whose list of numbers is an input since operator set 13, and an attribute before."""
        inputs = [value]
        for name in ("axes", "split"):
            if name in settings and self.opset >= 13:
                inputs.append(self.tensor(f"{outputs[0]}/{name}", settings.pop(name)))
        self.append(helper.make_node(op_type, inputs, outputs, name=outputs[0], **settings))
        return outputs

    def _declare(self, tensor: onnx.TensorProto) -> None:
        """Know an initializer; rows of floats are weights, on whose values no course of a model depends."""
        self.fixed.add(tensor.name)
        value = numpy_helper.to_array(tensor)
        if value.dtype.kind in "biu" or value.size == 1:
            self._op.name_constant(tensor.name, value)
        else:
            self._op.argument(tensor.name, value.dtype, value.shape)
