"""Build a graph of ONNX nodes, one call a node; types and shapes are inferred at each call.

A value is its name (`str`). A dimension is an `int`, or `None` where it is known only at run time (the batch):
nothing may depend on its size except through `Shape`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, TypeProto, helper, numpy_helper
from onnx.checker import ValidationError

from export.errors import ExportError

Array = npt.NDArray[Any]
Value = str
Shape = tuple[int | None, ...]

INTERNAL = "murmur"
"""Domain of the exporter's own operators. `export.lowering` replaces them all before a graph is written."""

SAME_SHAPE = {"GroupNormalization"}
"""Operators whose output has the shape of their first input although onnx's inference does not say so."""

LARGEST_INFERRED = 4096
"""Elements of a constant that shape inference is shown; shapes, axes and sizes are all smaller."""


class GraphBuilder:
    """A graph under construction: `op("Mul", a, b)` appends a node and returns the name of its output.

    Args:
        opset: the ONNX operator set that the nodes are written for.
        reserved: names that no value may be given.
    """

    def __init__(self, opset: int, reserved: Iterable[Value] = ()) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.types: dict[Value, TypeProto] = {}
        self.constants: dict[Value, Array] = {}
        self._constant_names: dict[tuple[str, tuple[int, ...], bytes], Value] = {}
        self._outputs: dict[bytes, list[Value]] = {}
        self._producers: dict[Value, onnx.NodeProto] = {}
        self._taken: set[str] = set(reserved)
        self._node_names: set[str] = set()

    def __call__(self, op_type: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> Value:
        """Append one node.

        Args:
            op_type: an operator of the standard domain.
            inputs: its operands; "" leaves an optional one out.
            outputs: how many outputs the node has.
            attributes: as in the operator's specification.

        Returns:
            The first output (`all` returns every one).

        Raises:
            ExportError: the operator does not accept operands of these types and shapes.
        """
        return self.all(op_type, *inputs, outputs=outputs, **attributes)[0]

    def all(self, op_type: str, *inputs: Value, outputs: int = 1, **attributes: Any) -> list[Value]:
        """Append one node and return all its outputs; an equal node that exists already is reused."""
        return self._append_once(helper.make_node(op_type, list(inputs), [""] * outputs, **attributes), None)

    def internal(self, op_type: str, *inputs: Value, like: Value, **attributes: Any) -> Value:
        """Append an operator of the exporter's own, whose output has the type and shape of `like`."""
        node = helper.make_node(op_type, list(inputs), [""], domain=INTERNAL, **attributes)
        return self._append_once(node, [self.types[like]])[0]

    def forget(self) -> None:
        """Reuse no node that was appended before this call."""
        self._outputs.clear()

    def append(self, node: onnx.NodeProto) -> None:
        """Append a ready-made node whose output names are free."""
        self._append(node, self.infer(node))

    def argument(self, name: Value, dtype: Any, shape: Sequence[int | str | None]) -> Value:
        """Declare a graph input."""
        element = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        self.types[name] = helper.make_tensor_type_proto(element, list(shape))
        self._taken.add(name)
        return name

    def const(self, value: npt.ArrayLike, dtype: Any = np.int64) -> Value:
        """A constant; int64 by default, since most are axes, sizes and shapes. Equal ones are shared."""
        array = np.asarray(value, dtype)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constant_names:
            name = self._constant_names[key] = self.fresh("constant")
            self.name_constant(name, array)
        return self._constant_names[key]

    def name_constant(self, name: Value, array: Array) -> None:
        """Introduce a constant under a name of its own."""
        self.argument(name, array.dtype, array.shape)
        self.constants[name] = array

    def like(self, value: Value, number: float) -> Value:
        """A scalar constant of `value`'s element type."""
        return self.const(number, self.dtype(value))

    def producer(self, value: Value) -> onnx.NodeProto | None:
        """The node that computes `value`; None for inputs and constants."""
        return self._producers.get(value)

    def shape(self, value: Value) -> Shape:
        """The dimensions of `value`."""
        if value not in self.types:
            raise ExportError(f"the shape of '{value}' cannot be inferred; export the model with static shapes")
        tensor = self.types[value].tensor_type
        if not tensor.HasField("shape"):
            raise ExportError(f"the rank of '{value}' is not known; export the model with static ranks")
        return tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim)

    def sample(self, value: Value) -> tuple[int, ...]:
        """The dimensions of one row of `value`: all but the first, which must be known."""
        shape = self.shape(value)
        known = tuple(d for d in shape[1:] if d is not None)
        if len(known) < len(shape) - 1:
            raise ExportError(f"'{value}' has sizes known only at run time, {list(shape)}; fix them in the model")
        return known

    def dtype(self, value: Value) -> np.dtype[Any]:
        """The element type of `value`."""
        return helper.tensor_dtype_to_np_dtype(self.types[value].tensor_type.elem_type)

    def element(self, value: Value) -> int:
        """The element type of `value` as ONNX numbers it."""
        return int(self.types[value].tensor_type.elem_type)

    def floats(self, value: Value) -> bool:
        """Whether `value` holds floating-point numbers."""
        return np.issubdtype(self.dtype(value), np.floating)

    def sizes(self, value: Value) -> Value:
        """The dimensions of `value` as an int64 vector: a constant where all are known."""
        shape = self.shape(value)
        known = [d for d in shape if d is not None]
        return self.const(known) if len(known) == len(shape) else self("Shape", value)

    def assume(self, value: Value, same_as: Value) -> Value:
        """Declare that `value` has the type and shape of `same_as`, where inference cannot see it."""
        self.types[value] = self.types[same_as]
        return value

    def expanded(self, value: Value, like: Value) -> Value:
        """`value` stretched to the shape of `like`."""
        wide = self("Expand", value, self.sizes(like))
        if self.dtype(value) == self.dtype(like):
            self.assume(wide, like)
        return wide

    def swapped(self, value: Value) -> Value:
        """`value` with its last two axes exchanged."""
        rank = len(self.shape(value))
        return self("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])

    def sum(self, value: Value, axes: Iterable[int], keepdims: bool = False) -> Value:
        """Sum over `axes`; the value itself where there are none."""
        axes = list(axes)
        return self("ReduceSum", value, self.const(axes), keepdims=int(keepdims)) if axes else value

    def squares(self, value: Value, axes: Iterable[int], keepdims: bool = False) -> Value:
        """Sum of squares over `axes`. Not ReduceSumSquare: ONNX Runtime's training package has no gradient for it."""
        return self.sum(self("Mul", value, value), axes, keepdims)

    def fresh(self, hint: str) -> Value:
        """A name that is not in use."""
        number = len(self._taken)
        while (name := f"{hint}_{number}") in self._taken:
            number += 1
        self._taken.add(name)
        return name

    def infer(self, node: onnx.NodeProto) -> dict[Value, TypeProto]:
        """The types of a node's outputs, by their names."""
        try:
            schema = onnx.defs.get_schema(node.op_type, self.opset, node.domain)
            # An input that is left out has a type too: onnx before 1.17 looks for it.
            inputs = {name: self.types[name] if name else TypeProto() for name in node.input}
            data = {
                name: numpy_helper.from_array(self.constants[name], name)
                for name in node.input
                if name in self.constants and self.constants[name].size <= LARGEST_INFERRED
            }
            types = onnx.shape_inference.infer_node_outputs(
                schema, node, inputs, data, opset_imports=[helper.make_opsetid("", self.opset)]
            )
        except KeyError as unknown:
            raise ExportError(f"node '{node.name}' ({node.op_type}) reads {unknown}, which no node computes") from None
        except (onnx.defs.SchemaError, onnx.shape_inference.InferenceError, ValidationError, RuntimeError) as reason:
            brief = str(reason).splitlines()[0]
            shapes = ", ".join(f"{n} {list(self.shape(n))}" for n in node.input if n in self.types)
            raise ExportError(f"node '{node.name}' ({node.op_type}) is invalid: {brief} [inputs: {shapes}]") from None
        if TensorProto.UNDEFINED in (t.tensor_type.elem_type for t in types.values()):
            raise ExportError(f"node '{node.name}' ({node.op_type}): its output type cannot be inferred")
        if node.op_type in SAME_SHAPE:
            types[node.output[0]] = self.types[node.input[0]]
        return dict(types)

    def _append_once(self, node: onnx.NodeProto, types: Sequence[TypeProto] | None) -> list[Value]:
        """Append `node`, whose outputs have no names yet, unless there is an equal one."""
        key = node.SerializeToString(deterministic=True)
        if key not in self._outputs:
            node.output[:] = [self.fresh(node.op_type) for _ in node.output]
            node.name = node.output[0]
            self._append(node, self.infer(node) if types is None else dict(zip(node.output, types, strict=True)))
            self._outputs[key] = list(node.output)
        return self._outputs[key]

    def _append(self, node: onnx.NodeProto, types: dict[Value, TypeProto]) -> None:
        self.types.update(types)
        self._taken.update(node.output)
        if node.name in self._node_names:
            node.name = self.fresh(node.name)
        self._node_names.add(node.name)
        self._producers.update((y, node) for y in node.output if y)
        self.nodes.append(node)
