"""Gradient of RoiAlign (He, Gkioxari, Dollar, Girshick 2017, section 3) in its features.

X (N, C, H, W), R boxes -> Y (R, C, h, w). Bilinear interpolation takes cell i at the place p with weight
max(0, 1 - |p - i|), and the places of a bin are a grid, so the mean over a bin is a product with one matrix an axis:

  Y[r] = A[r] X[batch[r]] B[r]^T     A (R, h, H), B (R, w, W)
  dX[n] = sum over the boxes r of n of A[r]^T dY[r] B[r]
"""

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("RoiAlign")
def roi_align(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """For mean pooling over a fixed number of places a bin; boxes have no gradient."""
    X, boxes, batch = node.inputs
    if node.attr("mode", "avg") != "avg" or node.attr("sampling_ratio", 0) <= 0:
        raise ExportError(f"node {node}: only mode=avg with a sampling_ratio above 0 has a gradient rule")
    if node.wanted[1]:
        raise ExportError(f"node {node}: its boxes depend on parameters, and have no gradient rule")
    _, H, W = op.sample(X)
    A = _weights(op, node, boxes, (1, 3), node.attr("output_height", 1), H)
    B = _weights(op, node, boxes, (0, 2), node.attr("output_width", 1), W)
    spread = op("MatMul", op("Transpose", A, perm=[0, 1, 3, 2]), op("MatMul", dY, B))
    zeros = op.expanded(op.like(dY, 0), X)
    return [op("ScatterND", zeros, op("Unsqueeze", batch, op.const([-1])), spread, reduction="add"), None, None]


def _weights(op: GraphBuilder, node: GraphNode, boxes: Value, columns: tuple[int, int], bins: int, size: int) -> Value:
    """(R, 1, bins, size): how much each cell of an axis counts in each bin of a box."""
    samples, kind = node.attr("sampling_ratio", 0), op.dtype(boxes)
    aligned = node.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    scaled = op("Mul", boxes, op.like(boxes, node.attr("spatial_scale", 1.0)))
    first, last = (op("Gather", scaled, op.const([i]), axis=1) for i in columns)  # (R, 1)
    start = op("Sub", first, op.like(boxes, 0.5 if aligned else 0))
    extent = op("Sub", last, first)
    if not aligned:
        extent = op("Max", extent, op.like(boxes, 1))
    within = op.const((np.arange(bins * samples) + 0.5) / (bins * samples), kind)
    places = op("Add", start, op("Mul", extent, within))  # (R, bins * samples)
    inside = op(
        "And",
        op("GreaterOrEqual", places, op.like(boxes, -1)),
        op("LessOrEqual", places, op.like(boxes, size)),
    )
    nearest = op("Clip", places, op.like(boxes, 0), op.like(boxes, size - 1))
    distance = op("Abs", op("Sub", op("Unsqueeze", nearest, op.const([-1])), op.const(np.arange(size), kind)))
    share = op("Relu", op("Sub", op.like(boxes, 1), distance))
    counted = op("Where", op("Unsqueeze", inside, op.const([-1])), share, op.like(boxes, 0))
    apart = op("Reshape", counted, op.const([0, bins, samples, size]))
    return op("ReduceMean", op("Unsqueeze", apart, op.const([1])), op.const([3]), keepdims=0)
