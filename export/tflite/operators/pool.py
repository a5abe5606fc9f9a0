"""Pools, and pixels repeated."""

import numpy as np

from export.errors import ExportError
from export.graph.node import GraphNode
from export.tflite.lower import Lowering, lowers
from export.tflite.operators._image import SAME, VALID, Geometry, image, keep_image, spatial
from export.tflite.operators.shape import padding


@lowers("MaxPool", "AveragePool")
def pool(to: Lowering, node: GraphNode) -> None:
    """The largest or the mean of each window."""
    X, Y = node.inputs[0], node.outputs[0]
    geometry = Geometry.of(node, tuple(node.attr("kernel_shape", ())))
    largest = node.op_type == "MaxPool"
    if geometry.dilations != (1, 1) or len(node.outputs) > 1:
        raise ExportError(f"--tflite: node {node}: dilations and indices of pools are not supported")
    x = image(to, X)
    padded = any((*geometry.before, *geometry.after))
    same = padded and geometry.same(to.graph.shape(x)[1:3])
    if padded and not largest and not node.attr("count_include_pad", 0) and not same:
        raise ExportError(f"--tflite: node {node}: this padding of a mean is not supported")
    if (padded and not same) or node.attr("count_include_pad", 0):
        around = [(0, 0), *zip(geometry.before, geometry.after, strict=True), (0, 0)]
        x, same = padding(to, x, around, float(np.finfo(np.float32).min) if largest else 0.0), False
    N, C = to.shape(Y)[:2]
    y = to.graph.emit(
        "MAX_POOL_2D" if largest else "AVERAGE_POOL_2D",
        [x],
        (N, *spatial(to.shape(Y)), C),
        options="Pool2D",
        padding=SAME if same else VALID,
        strideH=geometry.strides[0],
        strideW=geometry.strides[1],
        filterHeight=geometry.kernel[0],
        filterWidth=geometry.kernel[1],
    )
    keep_image(to, Y, y)


@lowers("GlobalAveragePool", "GlobalMaxPool")
def global_pool(to: Lowering, node: GraphNode) -> None:
    """The mean or the largest of the whole image."""
    X, Y = node.inputs[0], node.outputs[0]
    x = image(to, X)
    N, _, _, C = to.graph.shape(x)
    operator = "MEAN" if node.op_type == "GlobalAveragePool" else "REDUCE_MAX"
    y = to.graph.emit(operator, [x, to.graph.constant([1, 2])], (N, 1, 1, C), options="Reducer", keepDims=True)
    keep_image(to, Y, y)


@lowers("Resize")
def resize(to: Lowering, node: GraphNode) -> None:
    """Nearest neighbour, each pixel repeated."""
    X, Y = node.inputs[0], node.outputs[0]
    settings = [node.attr(k, d) for k, d in (("mode", "nearest"), ("coordinate_transformation_mode", "half_pixel"))]
    whole = all(y % x == 0 for x, y in zip(to.shape(X), to.shape(Y), strict=True))
    if settings != ["nearest", "asymmetric"] or node.attr("nearest_mode", "") != "floor" or not whole:
        raise ExportError(f"--tflite: node {node}: only pixels repeated a whole number of times are supported")
    x = image(to, X)
    N, rows, columns, channels = to.graph.shape(x)
    high, wide = (after // before for after, before in zip(spatial(to.shape(Y)), (rows, columns), strict=True))
    x = _repeated(to, to.reshaped(x, (N * rows * columns, 1, channels)), wide)
    x = _repeated(to, to.reshaped(x, (N * rows, 1, columns * wide * channels)), high)
    keep_image(to, Y, to.reshaped(x, (N, rows * high, columns * wide, channels)))


def _repeated(to: Lowering, x: int, times: int) -> int:
    """Copies along the middle axis: 0.2 ms for 64x14x14x16 to 28x28, where RESIZE_NEAREST_NEIGHBOR takes 0.5."""
    if times == 1:
        return x
    first, _, last = to.graph.shape(x)
    return to.graph.emit("CONCATENATION", [x] * times, (first, times, last), options="Concatenation", axis=1)
