"""Operators that rearrange, cut or rename elements without computing."""

import numpy as np

from export.graph.builder import Value
from export.graph.node import GraphNode
from export.tflite.lower import Lowering, lowers, natural


@lowers("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(to: Lowering, node: GraphNode) -> None:
    """The same elements, read in ONNX's order."""
    X, Y = node.inputs[0], node.outputs[0]
    to.keep(Y, to.reshaped(to.tensor(X), to.shape(Y)))


@lowers("Transpose")
def transpose(to: Lowering, node: GraphNode) -> None:
    """Axes get other names; nothing moves."""
    X, Y = node.inputs[0], node.outputs[0]
    axes = list(node.attr("perm", list(natural(len(to.shape(X))))[::-1]))
    to.alias(Y, X, lambda order: tuple(axes.index(a) for a in order))


@lowers("Concat")
def concat(to: Lowering, node: GraphNode) -> None:
    """Operands one after the other, all in the first one's order."""
    Y = node.outputs[0]
    order = next((to.order(x) for x in node.inputs if to.constant(x) is None), natural(len(to.shape(Y))))
    axis = order.index(node.attr("axis", 0) % len(order))
    parts = [to.tensor(x, order) for x in node.inputs]
    shape = [to.shape(Y)[a] for a in order]
    to.keep(Y, to.graph.emit("CONCATENATION", parts, shape, to.dtype(Y), options="Concatenation", axis=axis), order)


@lowers("Split")
def split(to: Lowering, node: GraphNode) -> None:
    """Parts along one axis, each a slice."""
    X = node.inputs[0]
    axis = node.attr("axis", 0) % len(to.shape(X))
    start = 0
    for Y in node.outputs:
        stop = start + to.shape(Y)[axis]
        if Y:
            _slice(to, X, Y, {axis: (start, stop, 1)})
        start = stop


@lowers("Slice")
def slice_(to: Lowering, node: GraphNode) -> None:
    """Bounds known at export time."""
    X, Y = node.inputs[0], node.outputs[0]
    start, end, *rest = (to.constant(x) for x in node.inputs[1:] if x)
    assert start is not None
    assert end is not None
    axes = np.arange(len(start)) if not rest or rest[0] is None else rest[0]
    steps = np.ones(len(start), np.int64) if len(rest) < 2 or rest[1] is None else rest[1]
    bounds = {}
    for axis, a, b, s in zip(axes, start, end, steps, strict=True):
        size = to.shape(X)[int(axis)]
        bounds[int(axis) % len(to.shape(X))] = slice(int(a), int(b), int(s)).indices(size)
    _slice(to, X, Y, bounds)


def _slice(to: Lowering, X: Value, Y: Value, bounds: dict[int, tuple[int, int, int]]) -> None:
    order = to.order(X)
    whole = [bounds.get(a, (0, to.shape(X)[a], 1)) for a in order]
    shape = [to.shape(Y)[a] for a in order]
    tensor = to.tensor(X, order)
    # A slice backwards that ends at -1 reaches the first element: the mask says so, as -1 would be the last.
    backwards = sum(1 << k for k, (_, stop, _) in enumerate(whole) if stop == -1)
    begin, end, steps = (to.graph.constant([w[i] for w in whole]) for i in range(3))
    cut = to.graph.emit(
        "STRIDED_SLICE", [tensor, begin, end, steps], shape, to.dtype(Y), options="StridedSlice", endMask=backwards
    )
    to.keep(Y, cut, order)


@lowers("Pad")
def pad(to: Lowering, node: GraphNode) -> None:
    """Zeros (or another number) around; negative padding cuts away."""
    X, Y = node.inputs[0], node.outputs[0]
    pads, rank, order = to.constant(node.inputs[1]), len(to.shape(X)), to.order(X)
    assert pads is not None
    axes = natural(rank) if not node.given(3) or (given := to.constant(node.inputs[3])) is None else tuple(given)
    around = {int(a) % rank: (int(pads[i]), int(pads[len(axes) + i])) for i, a in enumerate(axes)}
    value = to.constant(node.inputs[2]) if node.given(2) else None
    padded = padding(to, to.tensor(X, order), [around.get(a, (0, 0)) for a in order], float(value or 0.0))
    to.keep(Y, padded, order)


def padding(to: Lowering, tensor: int, around: list[tuple[int, int]], value: float = 0.0) -> int:
    """`around`: how much before and after, by axis in memory."""
    shape = to.graph.shape(tensor)
    if any(p < 0 for pair in around for p in pair):
        begin = [max(0, -before) for before, _ in around]
        end = [s - max(0, -after) for s, (_, after) in zip(shape, around, strict=True)]
        tensor = cut_out(to, tensor, begin, end, [1] * len(shape))
        around = [(max(0, before), max(0, after)) for before, after in around]
    if not any(p for pair in around for p in pair):
        return tensor
    wide = [s + before + after for s, (before, after) in zip(to.graph.shape(tensor), around, strict=True)]
    inputs = [tensor, to.graph.constant(np.array(around))]
    if value:
        filler = to.graph.constant([value], np.float32)
        return to.graph.emit("PADV2", [*inputs, filler], wide, to.graph.dtype(tensor), options="PadV2")
    return to.graph.emit("PAD", inputs, wide, to.graph.dtype(tensor), options="Pad")


def cut_out(to: Lowering, x: int, begin: list[int], end: list[int], steps: list[int]) -> int:
    """A part of a tensor, by axis in memory."""
    if max(steps) == 1:
        size = [e - b for b, e in zip(begin, end, strict=True)]
        if tuple(size) == to.graph.shape(x):
            return x
        constants = [to.graph.constant(v) for v in (begin, size)]
        return to.graph.emit("SLICE", [x, *constants], size, to.graph.dtype(x), options="Slice")
    shape = [-(-(e - b) // s) for b, e, s in zip(begin, end, steps, strict=True)]
    constants = [to.graph.constant(v) for v in (begin, end, steps)]
    return to.graph.emit("STRIDED_SLICE", [x, *constants], shape, to.graph.dtype(x), options="StridedSlice")


@lowers("Expand")
def expand(to: Lowering, node: GraphNode) -> None:
    """Repeat along axes of size 1."""
    X, Y = node.inputs[0], node.outputs[0]
    rank = len(to.shape(Y))
    order = to.order(X) if len(to.shape(X)) == rank else natural(rank)
    tensor = to.aligned(X, rank, order)
    shape = [to.shape(Y)[a] for a in order]
    if to.graph.shape(tensor) != tuple(shape):
        sizes = to.graph.constant(shape)
        tensor = to.graph.emit("BROADCAST_TO", [tensor, sizes], shape, to.dtype(Y), version=2, options="BroadcastTo")
    to.keep(Y, tensor, order)


@lowers("Gather")
def gather(to: Lowering, node: GraphNode) -> None:
    """Entries by number along one axis."""
    X, indices, Y = node.inputs[0], node.inputs[1], node.outputs[0]
    axis = node.attr("axis", 0) % len(to.shape(X))
    operands = [to.tensor(X), to.tensor(indices)]
    to.keep(Y, to.graph.emit("GATHER", operands, to.shape(Y), to.dtype(Y), options="Gather", axis=axis))


@lowers("Tile")
def tile(to: Lowering, node: GraphNode) -> None:
    """Copies one after the other."""
    X, repeats, Y = node.inputs[0], node.inputs[1], node.outputs[0]
    to.keep(Y, to.graph.emit("TILE", [to.tensor(X), to.tensor(repeats)], to.shape(Y), to.dtype(Y), options="Tile"))
