"""A view of one ONNX node, as gradient rules read it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Shape, Value

FILTER_GRADIENT = "ConvFilterGradient"
"""Internal operator: (X, dY) -> the gradient of a convolution's filters, with the attributes of the Conv."""


def attributes(proto: onnx.NodeProto) -> dict[str, Any]:
    """The attributes written on a node, by name."""
    return {a.name: helper.get_attribute_value(a) for a in proto.attribute}


def uses_batch_statistics(node: onnx.NodeProto) -> bool:
    """Whether a BatchNormalization node normalizes by the statistics of its batch."""
    return any(a.name == "training_mode" and a.i for a in node.attribute)


def with_names(node: onnx.NodeProto, names: Mapping[Value, Value]) -> onnx.NodeProto:
    """A copy of the node with values renamed; those that `names` does not hold keep their names."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for values in (copy.input, copy.output):
        values[:] = [names.get(v, v) for v in values]
    return copy


def constant_value(node: onnx.NodeProto) -> Array:
    """The value of a Constant node."""
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    if attribute.name.startswith("value_int"):
        return np.asarray(value, np.int64)
    if attribute.name.startswith("value_float"):
        return np.asarray(value, np.float32)
    raise ExportError(f"node '{node.name}' (Constant): '{attribute.name}' is not supported")


class GraphNode:
    """A node with its attributes and the shapes around it.

    Args:
        op: the graph that knows the shapes and constants.
        proto: the node.
        wanted: for each input, whether its adjoint is asked for; a rule may skip the others.
    """

    def __init__(self, op: GraphBuilder, proto: onnx.NodeProto, wanted: Sequence[bool]) -> None:
        self._op = op
        self.proto = proto
        self.op_type: str = proto.op_type
        self.inputs: list[Value] = list(proto.input)
        self.outputs: list[Value] = list(proto.output)
        self.wanted = list(wanted)
        self._attributes = attributes(proto)

    def __str__(self) -> str:
        return f"'{self.proto.name or self.outputs[0]}' ({self.op_type})"

    def attr(self, name: str, default: Any) -> Any:
        """The attribute, or `default`, which is the operator's own from its specification."""
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def has(self, name: str) -> bool:
        """Whether the attribute was written on the node."""
        return name in self._attributes

    def given(self, index: int) -> bool:
        """Whether an optional input is connected."""
        return index < len(self.inputs) and self.inputs[index] != ""

    def shape(self, index: int) -> Shape:
        """The dimensions of an input."""
        return self._op.shape(self.inputs[index])

    def constant(self, index: int) -> Array | None:
        """The value of an input where it is known at export time."""
        return self._op.constants.get(self.inputs[index]) if self.given(index) else None
