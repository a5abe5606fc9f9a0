"""Fold integer arithmetic on shapes at export time, as far as the sizes are known.

Exporters write `Reshape(x, Concat(Shape(x)[0], 400))` and the like. Everything but the batch is known, so such a vector
is followed as a list of sizes whose unknown entries are `None`; a vector without unknown entries becomes a constant,
which gradient rules can read.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.graph.builder import Array, GraphBuilder, Value
from export.graph.node import GraphNode
from export.graph.size_rules import SIZE_RULES, Sizes

LARGEST = 1 << 16
"""Elements of a constant that is computed here; a larger one is left to the runtime."""

RANDOM = {
    "RandomNormal",
    "RandomUniform",
    "RandomNormalLike",
    "RandomUniformLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
}
"""Operators whose output is not determined by their inputs."""


class ShapeFolder:
    """Follows sizes through a graph under construction.

    Invariant, after each `fold`: an output whose value is known in full is a constant of the graph, and its node is not
    in the graph; an integer output of which some entries are unknown is in `_partial`, and nowhere else. So
    `sizes(value)` is everything that is known of a value, and never contradicts what the runtime will compute.

    Args:
        op: the graph.
    """

    def __init__(self, op: GraphBuilder) -> None:
        self._op = op
        self._partial: dict[Value, Sizes] = {}

    def fold(self, node: onnx.NodeProto) -> bool:
        """Learn what is known of a node's output. The caller appends the node if the answer is False.

        Returns:
            Whether the output became a constant, which makes the node superfluous.
        """
        if len(node.output) != 1:
            return False
        value = self._evaluated(node)
        if value is None:
            value = self._followed(node)
        if value is None:
            return False
        self._op.name_constant(node.output[0], value)
        return True

    def sizes(self, value: Value) -> Sizes | None:
        """What is known of an integer vector or scalar; None if nothing is, or if it holds something else."""
        if value in self._partial:
            return self._partial[value]
        constant = self._op.constants.get(value)
        if constant is None or constant.dtype.kind != "i" or constant.ndim > 1:
            return None
        return [int(v) for v in np.atleast_1d(constant)]

    def append(self, node: onnx.NodeProto, append: Callable[[onnx.NodeProto], None]) -> None:
        """Append a node that was not folded, with all that is known of the sizes it is given.

        Args:
            node: the node; what is known of a Reshape's target is written into it.
            append: puts the node into the graph.
        """
        if node.op_type == "Reshape":
            self._settle_reshape(node)
        append(node)
        if node.op_type in ("Expand", "ConstantOfShape"):
            self._settle_shape(node)

    def _settle_reshape(self, node: onnx.NodeProto) -> None:
        """Write what is known of a Reshape's target into the node."""
        target = self.sizes(node.input[1])
        if target is None:
            return
        if target.count(None) <= 1 and (None not in target or -1 not in target):
            node.input[1] = self._op.const([-1 if size is None else size for size in target])

    def _settle_shape(self, node: onnx.NodeProto) -> None:
        """Declare an output's dimensions where inference needs the whole target to know any."""
        target = self.sizes(node.input[-1])
        tensor = self._op.types[node.output[0]].tensor_type
        if target is None or (tensor.HasField("shape") and None not in self._op.shape(node.output[0])):
            return
        if node.op_type == "Expand":
            shape = self._op.shape(node.input[0])
            rank = max(len(shape), len(target))
            pairs = zip((1,) * (rank - len(shape)) + shape, [1] * (rank - len(target)) + target, strict=True)
            target = [q if p == 1 else p if q in (1, None) else q for p, q in pairs]
        self._op.types[node.output[0]] = helper.make_tensor_type_proto(tensor.elem_type, target)

    def _evaluated(self, node: onnx.NodeProto) -> Array | None:
        """The output of a node all of whose inputs are constants."""
        if node.op_type == "CastLike" and node.input[0] in self._op.constants:  # of the other only the type matters
            return self._op.constants[node.input[0]].astype(self._op.dtype(node.input[1]))
        names = [x for x in node.input if x]
        inputs = {x: self._op.constants[x] for x in names if x in self._op.constants}
        if len(inputs) < len(set(names)) or node.op_type in RANDOM or any(v.size > LARGEST for v in inputs.values()):
            return None
        try:
            value = _evaluate(node, inputs, self._op.opset)
        except Exception:  # the evaluator does not know every operator; the runtime does
            return None
        return value if value.size <= LARGEST else None

    def _followed(self, node: onnx.NodeProto) -> Array | None:
        """The output of an operator on sizes, if all of it is known; what is known of it is kept otherwise."""
        rule = SIZE_RULES.get(node.op_type)
        sizes = rule(self.sizes, GraphNode(self._op, node, [])) if rule else None
        if sizes is None:
            return None
        tensor = self._op.infer(node)[node.output[0]].tensor_type
        if tensor.elem_type not in (onnx.TensorProto.INT64, onnx.TensorProto.INT32):
            return None
        if None in sizes:
            self._partial[node.output[0]] = sizes
            return None
        value = np.array(sizes, helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        return value if len(tensor.shape.dim) else value.reshape(())


def sized(model: onnx.ModelProto, sizes: Mapping[str, int]) -> GraphBuilder:
    """Build a finished graph again with a number for each symbolic dimension, and fold everything that follows.

    Args:
        model: a graph of ours.
        sizes: the number for each symbolic dimension, such as {"N": 32, "R": 64}.

    Returns:
        The graph, all of whose shapes are known.

    Raises:
        ExportError: a dimension has no number.
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
    folder = ShapeFolder(op)
    for node in model.graph.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        if not folder.fold(copy):
            op.append(copy)
    return op


def _evaluate(node: onnx.NodeProto, values: dict[str, Array], opset: int) -> Array:
    inputs = [
        helper.make_tensor_value_info(k, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape) for k, v in values.items()
    ]
    outputs = [helper.make_value_info(node.output[0], onnx.TypeProto())]
    graph = helper.make_graph([node], "constant", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results: Any = ReferenceEvaluator(model).run(None, values)
    return np.asarray(results[0])
