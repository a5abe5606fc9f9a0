"""Gradient of Resize: it is linear, and acts on each axis by itself.

Along an axis of s cells that become o, Y = A X with a matrix A (o, s) that depends on the attributes alone; it is
read off by resizing the identity at export time. So dX = A^T dY, whatever the mode.
"""

from typing import Any

import numpy as np
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.graph.builder import Array


@gradient("Resize")
def resize(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """X (N, C, *S) -> Y (N, C, *O); nearest, linear and cubic, by constant scales or sizes."""
    X = node.inputs[0]
    if node.attr("coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise ExportError(f"node {node}: tf_crop_and_resize has no gradient rule")
    by_scale = node.given(2) and (node.constant(2) is None or node.constant(2).size > 0)  # type: ignore[union-attr]
    asked = node.constant(2 if by_scale else 3)
    if asked is None:
        raise ExportError(f"node {node}: its scales or sizes must be constant")
    rank = len(op.shape(X))
    axes = [axis % rank for axis in node.attr("axes", list(range(rank)))]
    adjoint = dY
    for axis, number in zip(axes, asked.tolist(), strict=True):
        size, out = op.shape(X)[axis], op.shape(node.outputs[0])[axis]
        if size is None or out is None:
            if (by_scale and number == 1) or (not by_scale and axis == 0):
                continue
            raise ExportError(f"node {node}: axis {axis} has a size known only at run time")
        if size == out and number in (1, size):
            continue
        matrix = op.const(_matrix(node, size, number if by_scale else None, out), op.dtype(dY))  # (out, size)
        turn = [i for i in range(rank) if i != axis] + [axis]
        turned = op("MatMul", op("Transpose", adjoint, perm=turn), matrix)
        adjoint = op("Transpose", turned, perm=np.argsort(turn).tolist())
    return [adjoint, *[None] * (len(node.inputs) - 1)]


def _matrix(node: GraphNode, size: int, scale: float | None, out: int) -> Array:
    """(out, size): what resizing does to each unit vector."""
    kept = {a.name: helper.get_attribute_value(a) for a in node.proto.attribute}
    kept = {k: v for k, v in kept.items() if k not in ("axes", "keep_aspect_ratio_policy")}
    names = ["x", "", "scales"] if scale is not None else ["x", "", "", "sizes"]
    proto = helper.make_node("Resize", names, ["y"], **kept)
    inputs = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [size, size])]
    feeds: dict[str, Any] = {"x": np.eye(size)}
    if scale is not None:
        inputs.append(helper.make_tensor_value_info("scales", TensorProto.FLOAT, [2]))
        feeds["scales"] = np.array([1, scale], np.float32)
    else:
        inputs.append(helper.make_tensor_value_info("sizes", TensorProto.INT64, [2]))
        feeds["sizes"] = np.array([size, out], np.int64)
    result = helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)
    graph = helper.make_graph([proto], "resize", inputs, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])
    results: Any = ReferenceEvaluator(model).run(None, feeds)
    return np.asarray(results[0]).T
