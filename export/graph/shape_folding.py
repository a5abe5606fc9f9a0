"""Integer arithmetic on shapes, done at export time as far as it is known.

Exporters write `Reshape(x, Concat(Shape(x)[0], 400))` and the like. All but the batch is known, so a vector
of sizes is followed as a list whose unknown entries are `None`; where all are known the node becomes a
constant, which rules can read.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Value
from export.graph.node import Node

Sizes = list[int | None]
LARGEST = 1 << 16
"""Elements of a constant that is worked out here; a larger one is left to the runtime."""


class ShapeFolder:
    """Follows sizes through a graph under construction."""

    def __init__(self, op: GraphBuilder, exported_batch: int | None) -> None:
        self._op = op
        self._sizes: dict[Value, Sizes] = {}
        self.exported_batch = exported_batch
        """what the model's input said the batch is, where that is a number"""
        self.freed: list[str] = []
        """nodes whose fixed batch was made free"""

    def visit(self, node: onnx.NodeProto) -> bool:
        """Look at a node about to be appended; True if its output became a constant instead."""
        if self._constant(node) or len(node.output) != 1:
            return len(node.output) == 1 and node.output[0] in self._op.constants
        rule = FOLLOWED.get(node.op_type)
        found = rule(self, Node(self._op, node, [])) if rule else None
        if found is None:
            return False
        tensor = self._op.infer(node)[node.output[0]].tensor_type
        if tensor.elem_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
            return False
        if None in found:
            self._sizes[node.output[0]] = found
            return False
        value = np.array(found, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        self._op.name_constant(node.output[0], value if len(tensor.shape.dim) else value.reshape(()))
        return True

    def reshape(self, node: onnx.NodeProto) -> None:
        """Let a Reshape say what is known of its target, and leave the batch free.

        A target that begins with the number of samples the model was exported with becomes one that takes
        any number.
        """
        target = self.target(node.input[1])
        if target is None:
            return
        shape = self._op.shape(node.input[0])
        if shape and shape[0] is None and target and None not in target and -1 not in target[:1] and target[0] != 0:
            rest, sample = target[1:], shape[1:]
            fits = -1 in rest or (None not in sample and _product(rest) == _product(sample))
            if fits and 0 not in rest and target[0] == self.exported_batch:
                target = [0, *rest]
                self.freed.append(node.name or node.output[0])
        if target.count(None) <= 1 and (None not in target or -1 not in target):
            node.input[1] = self._op.const([-1 if t is None else t for t in target])

    def target(self, value: Value) -> Sizes | None:
        """What is known of a vector of sizes."""
        if value in self._sizes:
            return self._sizes[value]
        constant = self._op.constants.get(value)
        if constant is None or constant.dtype.kind != "i" or constant.ndim > 1:
            return None
        return [int(v) for v in np.atleast_1d(constant)]

    def known(self, value: Value) -> list[int] | None:
        """As `target`, where nothing is unknown."""
        sizes = self.target(value)
        return None if sizes is None or None in sizes else [s for s in sizes if s is not None]

    def _constant(self, node: onnx.NodeProto) -> bool:
        """Work out a node all of whose inputs are constants."""
        if node.op_type == "CastLike" and node.input[0] in self._op.constants:  # of the other only the type matters
            value = self._op.constants[node.input[0]].astype(self._op.dtype(node.input[1]))
            self._op.name_constant(node.output[0], value)
            return True
        inputs = [self._op.constants.get(x) for x in node.input if x]
        small = all(v is not None and v.size <= LARGEST for v in inputs)
        if not small or len(node.output) != 1 or node.op_type in NEVER:
            return False
        try:
            (value,) = _evaluate(node, dict(zip([x for x in node.input if x], inputs, strict=True)), self._op.opset)
        except Exception:  # the evaluator does not know everything; the runtime does
            return False
        if value.size > LARGEST:
            return False
        self._op.name_constant(node.output[0], np.asarray(value))
        return True


def sized(model: onnx.ModelProto, sizes: Mapping[str, int]) -> GraphBuilder:
    """A finished graph again, with a number for each symbolic dimension, and all that follows from it worked out.

    Raises:
        ExportError: a dimension that has none.
    """
    op = GraphBuilder(next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx")))
    for tensor in model.graph.initializer:
        op.name_constant(tensor.name, numpy_helper.to_array(tensor))
    for value in model.graph.input:
        tensor = value.type.tensor_type
        shape = [d.dim_value if d.HasField("dim_value") else sizes.get(d.dim_param, -1) for d in tensor.shape.dim]
        if -1 in shape:
            raise ExportError(f"'{value.name}' has a dimension without a number; give one of {', '.join(sizes)}")
        op.argument(value.name, onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type), shape)
    folder = ShapeFolder(op, None)
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if not folder.visit(copy):
            op.append(copy)
    return op


def _product(sizes: Sequence[int | None]) -> int:
    return prod(s for s in sizes if s is not None)


NEVER = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
}


def _evaluate(node: onnx.NodeProto, values: dict[str, Any], opset: int) -> Sequence[Array]:
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in values.items()
    ]
    outputs = [helper.make_value_info(node.output[0], onnx.TypeProto())]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    found: Any = ReferenceEvaluator(model).run(None, values)
    return [np.asarray(v) for v in found]


def _shape(_: ShapeFolder, node: Node) -> Sizes:
    shape: Sizes = list(node.shape(0))
    return shape[slice(node.attr("start", 0), node.attr("end", None))]


def _size(_: ShapeFolder, node: Node) -> Sizes | None:
    shape = node.shape(0)
    return None if None in shape else [_product([d for d in shape if d is not None])]


def _gather(folder: ShapeFolder, node: Node) -> Sizes | None:
    sizes, at = folder.target(node.inputs[0]), folder.known(node.inputs[1])
    if sizes is None or at is None or node.attr("axis", 0) != 0 or not node.inputs[0]:
        return None
    return [sizes[i] for i in at]


def _slice(folder: ShapeFolder, node: Node) -> Sizes | None:
    sizes, bounds = folder.target(node.inputs[0]), [folder.known(x) for x in node.inputs[1:]]
    start, end, step = bounds[0], bounds[1], bounds[3] if len(bounds) > 3 else [1]
    if sizes is None or start is None or end is None or step is None:
        return None
    return sizes[start[0] : end[0] : step[0]]


def _concat(folder: ShapeFolder, node: Node) -> Sizes | None:
    parts = [folder.target(x) for x in node.inputs]
    return None if any(p is None for p in parts) else [s for p in parts if p is not None for s in p]


def _same(folder: ShapeFolder, node: Node) -> Sizes | None:
    return folder.target(node.inputs[0])


def _arithmetic(function: Callable[[int, int], int]) -> Callable[[ShapeFolder, Node], Sizes | None]:
    def follow(folder: ShapeFolder, node: Node) -> Sizes | None:
        a, b = (folder.target(x) for x in node.inputs)
        if a is None or b is None or (1 not in (len(a), len(b)) and len(a) != len(b)):
            return None
        n = max(len(a), len(b))
        pairs = zip(a * (n // len(a)), b * (n // len(b)), strict=True)
        return [None if p is None or q is None else function(p, q) for p, q in pairs]

    return follow


FOLLOWED: dict[str, Callable[[ShapeFolder, Node], Sizes | None]] = {
    "Shape": _shape,
    "Size": _size,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _same,
    "Squeeze": _same,
    "Identity": _same,
    "Cast": _same,
    "Add": _arithmetic(lambda p, q: p + q),
    "Sub": _arithmetic(lambda p, q: p - q),
    "Mul": _arithmetic(lambda p, q: p * q),
    "Div": _arithmetic(lambda p, q: p // q),
}
