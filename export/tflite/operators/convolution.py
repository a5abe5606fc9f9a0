"""Convolutions, as products of the patches of an image with the filters.

TFLite's CONV_2D and TRANSPOSE_CONV take filters that come at run time, but its BATCH_MATMUL is several times as fast.
Measured, ms on one thread, ai-edge-litert 2.3.0 / tflite-runtime 2.14.0: 64 images of 14x14x16, 32 filters of 3x3,
CONV_2D 3.1 / 3.4, patches and product 1.1 / 1.6; 64 filters of 1x1 over 64x25x5x64, CONV_2D 1.7 / 1.7, product 0.3 /
0.4. The weight gradient needs the same patches, which are then computed once.
"""

from collections.abc import Callable
from math import prod

import numpy as np

from export.errors import ExportError
from export.graph.builder import Value
from export.graph.node import GraphNode
from export.tflite.lower import Lowering, lowers
from export.tflite.operators._image import SAME, VALID, Geometry, Pair, image, keep_image, spatial
from export.tflite.operators.linear import product
from export.tflite.operators.shape import cut_out, padding

FEW = 4
"""channels up to which a depthwise convolution with one-hot filters copies patches faster than slices do: 64 images
of 28x28x1, ms with ai-edge-litert / tflite-runtime, 0.17 / 0.26, slices 1.28 / 2.67; of 14x14x16 0.77 / 0.88 and
0.54 / 0.82"""
NARROW = 16
"""channels of the result up to which TRANSPOSE_CONV is no slower than patches, whose cost does not depend on them: ms,
12,544 rows, 3x3, 32 to 16 channels 3.3 / 3.9; 5x5, 16 to 6 channels 1.0 / 5.3; 8,192 rows, 1x3, 32 to 32 1.4 / 0.7"""
M, C, ROWS, COLUMNS = range(4)
"""axes of filters, in which an order is expressed"""


def filters(to: Lowering, W: Value, order: tuple[int, ...]) -> int:
    """Filters in an order of the axes (M, C, rows, columns); a signal's have one row."""
    if len(to.shape(W)) == 4:
        return to.tensor(W, order)
    signal = to.tensor(W, tuple(min(axis, 2) for axis in order if axis != ROWS))
    sizes = iter(to.graph.shape(signal))
    return to.reshaped(signal, [1 if axis == ROWS else next(sizes) for axis in order])


@lowers("Conv")
def conv(to: Lowering, node: GraphNode) -> None:
    """Y[n, m, o] = B[m] + sum over c, k of W[m, c, k] X[n, c, stride o + dilation k - pad]."""
    X, W = node.inputs[:2]
    geometry, group = Geometry.of(node, to.shape(W)[2:]), node.attr("group", 1)
    if group == 1 and (images := _exchanged(to, node)):
        _weight_gradient(to, node, geometry, *images)
        return
    x, bias = image(to, X), to.tensor(node.inputs[2]) if node.given(2) else None
    if group == 1:
        y = multiplied(to, x, lambda order: filters(to, W, order), to.shape(W)[0], geometry, bias)
    elif to.shape(X)[1] == group:
        y = depthwise(to, x, filters(to, W, (C, ROWS, COLUMNS, M)), geometry, bias)
    else:
        y = _grouped(to, x, filters(to, W, (M, ROWS, COLUMNS, C)), geometry, group, bias)
    keep_image(to, node.outputs[0], y)


def multiplied(
    to: Lowering,
    x: int,
    order_of: Callable[[tuple[int, ...]], int],
    channels: int,
    geometry: Geometry,
    bias: int | None = None,
) -> int:
    """A convolution of one group. order_of: the filters in an order of their axes."""
    seen, by_channel = patches(to, x, geometry, geometry.positions(to.graph.shape(x)[1:3]))
    N, rows, columns, width = to.graph.shape(seen)
    kernel = order_of((C, ROWS, COLUMNS, M) if by_channel else (ROWS, COLUMNS, C, M))
    flat = to.reshaped(seen, (N * rows * columns, width))
    y = product(to, (flat, 0), (to.reshaped(kernel, (width, channels)), 0), (N * rows * columns, channels))
    if bias is not None:
        y = to.graph.emit("ADD", [y, bias], to.graph.shape(y), options="Add")
    return to.reshaped(y, (N, rows, columns, channels))


def patches(to: Lowering, x: int, geometry: Geometry, positions: Pair) -> tuple[int, bool]:
    """Cut an image (N, H, W, C) into what each window sees.

    Returns:
        The patches (N, *positions, cells * C), and whether they hold the cells of one channel together rather than the
        channels of one cell.
    """
    N, H, W, channels = to.graph.shape(x)
    # Pad only as far as the windows reach, whatever the node says, so that both passes cut the same patches.
    needed = [geometry.reach[i] + (positions[i] - 1) * geometry.strides[i] + 1 for i in (0, 1)]
    after = [n - size - before for n, size, before in zip(needed, (H, W), geometry.before, strict=True)]
    x = padding(to, x, [(0, 0), *zip(geometry.before, after, strict=True), (0, 0)])
    cells = list(np.ndindex(*geometry.kernel))
    if channels <= FEW and len(cells) > 1:
        hot = np.eye(len(cells), dtype=np.float32).reshape(1, *geometry.kernel, 1, len(cells))
        kernel = np.tile(hot, (1, 1, 1, channels, 1)).reshape(1, *geometry.kernel, channels * len(cells))
        plain = Geometry(geometry.kernel, geometry.strides, geometry.dilations, (0, 0), (0, 0))
        return depthwise(to, x, to.graph.constant(kernel, np.float32), plain), True
    seen = []
    for row, column in cells:
        begin = [0, row * geometry.dilations[0], column * geometry.dilations[1], 0]
        ends = [begin[1 + i] + (positions[i] - 1) * geometry.strides[i] + 1 for i in (0, 1)]
        end = [N, *ends, channels]
        seen.append(cut_out(to, x, begin, end, [1, *geometry.strides, 1]))
    if len(seen) == 1:
        return seen[0], True
    shape = (N, *positions, len(cells) * channels)
    return to.graph.emit("CONCATENATION", seen, shape, options="Concatenation", axis=3), False


def depthwise(to: Lowering, x: int, kernel: int, geometry: Geometry, bias: int | None = None) -> int:
    """Convolve every channel on its own, with filters (1, rows, columns, M)."""
    N, H, W, channels = to.graph.shape(x)
    same = geometry.same((H, W))
    if not same:
        x = padding(to, x, [(0, 0), *zip(geometry.before, geometry.after, strict=True), (0, 0)])
    outputs = to.graph.shape(kernel)[3]
    return to.graph.emit(
        "DEPTHWISE_CONV_2D",
        [x, kernel, to.graph.constant(np.zeros(outputs), np.float32) if bias is None else bias],
        (N, *geometry.positions((H, W)), outputs),
        options="DepthwiseConv2D",
        padding=SAME if same else VALID,
        strideH=geometry.strides[0],
        strideW=geometry.strides[1],
        dilationHFactor=geometry.dilations[0],
        dilationWFactor=geometry.dilations[1],
        depthMultiplier=outputs // channels,
    )


def _grouped(to: Lowering, x: int, kernel: int, geometry: Geometry, group: int, bias: int | None) -> int:
    """Convolve each group on its own, one after the other."""
    parts = []
    for i in range(group):
        own, some = (_part(to, t, axis, i, group) for t, axis in ((x, 3), (kernel, 0)))
        sizes = to.graph.shape(some)

        def order_of(order: tuple[int, ...], some: int = some) -> int:
            return to.transposed(some, [(M, ROWS, COLUMNS, C).index(axis) for axis in order])

        parts.append(multiplied(to, own, order_of, sizes[0], geometry))
    *sizes_, last = to.graph.shape(parts[0])
    y = to.graph.emit("CONCATENATION", parts, (*sizes_, last * group), options="Concatenation", axis=3)
    return y if bias is None else to.graph.emit("ADD", [y, bias], to.graph.shape(y), options="Add")


def _part(to: Lowering, tensor: int, axis: int, number: int, of: int) -> int:
    begin, end = [0] * 4, list(to.graph.shape(tensor))
    size = end[axis] // of
    begin[axis], end[axis] = number * size, (number + 1) * size
    return cut_out(to, tensor, begin, end, [1] * 4)


def _exchanged(to: Lowering, node: GraphNode) -> tuple[Value, Value] | None:
    """The image and the filters of a convolution whose operands are images with batch and channels exchanged."""
    originals = []
    for value in node.inputs[:2]:
        turn = to.op.producer(value)
        if (
            turn is None
            or turn.op_type != "Transpose"
            or list(GraphNode(to.op, turn, []).attr("perm", []))[:2] != [1, 0]
        ):
            return None
        originals.append(turn.input[0])
    return originals[0], originals[1]


def _weight_gradient(to: Lowering, node: GraphNode, geometry: Geometry, X: Value, dY: Value) -> None:
    """A convolution of X and dY, batch and channels of both exchanged: patches of X times dY, summed over all rows.

    Its result (C, M, rows, columns) has the window's size, and its strides and dilations are those of the window
    exchanged (`export.lowering.tflite_filter_gradient`).
    """
    Y = node.outputs[0]
    window = Geometry(spatial(to.shape(Y)), geometry.dilations, geometry.strides, geometry.before, geometry.after)
    x, dy = image(to, X), image(to, dY)
    seen, by_channel = patches(to, x, window, geometry.kernel)
    width, outputs = to.graph.shape(seen)[3], to.graph.shape(dy)[3]
    rows = prod(to.graph.shape(seen)[:3])
    dw = product(to, (to.reshaped(seen, (rows, width)), 1), (to.reshaped(dy, (rows, outputs)), 0), (width, outputs))
    if len(to.shape(Y)) == 4:
        order: tuple[int, ...] = (0, 2, 3, 1) if by_channel else (2, 3, 0, 1)
    else:
        order = (0, 2, 1) if by_channel else (2, 0, 1)
    to.keep(Y, to.reshaped(dw, [to.shape(Y)[axis] for axis in order]), order)


@lowers("ConvTranspose")
def conv_transpose(to: Lowering, node: GraphNode) -> None:
    """X (N, C, ...) spread by W (C, M/g, ...).

    TRANSPOSE_CONV where there are strides or few channels; otherwise a convolution with reversed filters.
    """
    X, W = node.inputs[:2]
    Y = node.outputs[0]
    geometry, group = Geometry.of(node, to.shape(W)[2:]), node.attr("group", 1)
    outputs, target = to.shape(Y)[1], spatial(to.shape(Y))
    x = image(to, X)
    if group not in (1, outputs) or (group > 1 and to.shape(X)[1] != outputs):
        raise ExportError(f"--tflite: node {node}: {group} groups of a transposed convolution are not supported")
    if group == 1 and geometry.dilations == (1, 1) and (geometry.strides != (1, 1) or outputs <= NARROW):
        y = _spread(to, x, filters(to, W, (C, ROWS, COLUMNS, M)), geometry, target)
    else:
        for i in (0, 1):
            x = _apart(to, x, 1 + i, geometry.strides[i])
        # What the strides skipped at the far side is padded with zeros, too.
        before = (geometry.reach[0] - geometry.before[0], geometry.reach[1] - geometry.before[1])
        have = to.graph.shape(x)[1:3]
        after = tuple(t + r - b - h for t, r, b, h in zip(target, geometry.reach, before, have, strict=True))
        plain = Geometry(geometry.kernel, (1, 1), geometry.dilations, before, (after[0], after[1]))
        # W's axes are (in, out, ...): its second is what a convolution calls M.
        if group == 1:
            y = multiplied(to, x, lambda order: _turned(to, W, tuple(_other(a) for a in order)), outputs, plain)
        else:
            y = depthwise(to, x, _turned(to, W, (C, ROWS, COLUMNS, M)), plain)
    if node.given(2):
        y = to.graph.emit("ADD", [y, to.tensor(node.inputs[2])], to.graph.shape(y), options="Add")
    keep_image(to, Y, y)


def _other(axis: int) -> int:
    return {M: C, C: M}.get(axis, axis)


def _spread(to: Lowering, x: int, kernel: int, geometry: Geometry, target: Pair) -> int:
    """TRANSPOSE_CONV with filters (out, rows, columns, in)."""
    same, N, outputs = geometry.same(target), to.graph.shape(x)[0], to.graph.shape(kernel)[0]
    pads = list(zip(geometry.before, geometry.after, strict=True))
    rows, columns = target if same else (t + b + a for t, (b, a) in zip(target, pads, strict=True))
    y = to.graph.emit(
        "TRANSPOSE_CONV",
        [to.graph.constant([N, rows, columns, outputs]), kernel, x],
        (N, rows, columns, outputs),
        options="TransposeConv",
        padding=SAME if same else VALID,
        strideH=geometry.strides[0],
        strideW=geometry.strides[1],
    )
    return y if same else padding(to, y, [(0, 0), *((-b, -a) for b, a in pads), (0, 0)])


def _apart(to: Lowering, x: int, axis: int, stride: int) -> int:
    """Put zeros between the rows (or columns) of an image, and after the last."""
    if stride == 1:
        return x
    shape = to.graph.shape(x)
    flat = to.reshaped(x, (prod(shape[: axis + 1]), 1, prod(shape[axis + 1 :])))
    flat = padding(to, flat, [(0, 0), (0, stride - 1), (0, 0)])
    return to.reshaped(flat, (*shape[:axis], shape[axis] * stride, *shape[axis + 1 :]))


def _turned(to: Lowering, W: Value, order: tuple[int, ...]) -> int:
    """Filters with their rows and columns in the opposite order."""
    kernel = filters(to, W, order)
    for axis in (order.index(ROWS), order.index(COLUMNS)):
        if to.graph.shape(kernel)[axis] > 1:
            inputs = [kernel, to.graph.constant([axis])]
            kernel = to.graph.emit("REVERSE_V2", inputs, to.graph.shape(kernel), options="ReverseV2")
    return kernel
