"""Gradients of operators that pick, repeat or pad elements."""

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.graph.builder import Array


@gradient("Slice")
def slice_(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X[starts:ends:steps] on some axes: dY goes back to the cells that were read, zeros elsewhere."""
    X = node.inputs[0]
    rank = len(op.shape(X))
    starts, ends = (_known(node, i) for i in (1, 2))
    axes = _known(node, 3) if node.given(3) else np.arange(len(starts))
    steps = _known(node, 4) if node.given(4) else np.ones_like(starts)
    adjoint = dY
    for axis, start, end, step in zip(axes % rank, starts, ends, steps, strict=True):
        size = op.shape(X)[axis]
        if size is None:
            if (start, step) == (0, 1) and end >= 2**31 - 1:
                continue  # all of it
            raise ExportError(f"node {node}: axis {axis} has a size known only at run time")
        cells = range(size)[slice(start, end, step)] if step > 0 else range(size)[_backwards(start, end, step, size)]
        adjoint = _spread(op, adjoint, int(axis), cells, size)
    return [adjoint, *[None] * (len(node.inputs) - 1)]


def _backwards(start: int, end: int, step: int, size: int) -> slice:
    """ONNX counts an end below -size as "past the first element", which Python writes as None."""
    return slice(int(start), None if end < -size else int(end), int(step))


def _spread(op: GraphBuilder, adjoint: Value, axis: int, cells: range, size: int) -> Value:
    """Put the elements of `adjoint` along `axis` at `cells` of an axis of `size` zeros."""
    rank = len(op.shape(adjoint))
    if cells.step == 1 or len(cells) < 2:
        pads = [0] * 2 * rank
        pads[axis], pads[rank + axis] = cells.start, size - cells.start - len(cells)
        return op("Pad", adjoint, op.const(pads)) if any(pads) else adjoint
    wide = list(op.shape(adjoint))
    wide[axis] = size
    if None in wide[1:]:
        raise ExportError(f"'{adjoint}' has sizes known only at run time, {wide}; fix them in the model")
    # Elements between the cells of a step cannot be padded in: a one-hot matrix moves them there.
    moves = np.zeros((len(cells), size))
    moves[np.arange(len(cells)), list(cells)] = 1
    last = [i for i in range(rank) if i != axis] + [axis]
    turned = op("Transpose", adjoint, perm=last)
    placed = op("MatMul", turned, op.const(moves, op.dtype(adjoint)))
    return op("Transpose", placed, perm=np.argsort(last).tolist())


@gradient("Pad")
def pad(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X with a constant border: dY without it."""
    if node.attr("mode", "constant") != "constant":
        raise ExportError(f"node {node}: only constant padding has a gradient rule, not {node.attr('mode', '')}")
    pads = _known(node, 1)
    rank = len(op.shape(dY))
    axes = _known(node, 3) % rank if node.given(3) else np.arange(rank)
    n = len(axes)
    if (pads < 0).any():
        raise ExportError(f"node {node}: negative padding has no gradient rule; use Slice")
    kept = [int(i) for i in range(n) if pads[i] or pads[n + i]]
    if not kept:
        return [dY, *[None] * (len(node.inputs) - 1)]
    ends = [-int(pads[n + i]) if pads[n + i] else 2**62 for i in kept]
    starts = [int(pads[i]) for i in kept]
    dX = op("Slice", dY, op.const(starts), op.const(ends), op.const([int(axes[i]) for i in kept]))
    return [dX, *[None] * (len(node.inputs) - 1)]


@gradient("Expand")
def expand(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X broadcast: the walk sums dY back."""
    return [dY, None]


@gradient("Tile")
def tile(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X repeated along each axis: the copies' adjoints are summed."""
    repeats = _known(node, 1)
    cut: list[int] = []
    summed = []
    for times, size in zip(repeats.tolist(), op.shape(node.inputs[0]), strict=True):
        if times > 1:
            if size is None:
                raise ExportError(f"node {node}: an axis of a size known only at run time is repeated")
            summed.append(len(cut))
            cut += [times, size]
        else:
            cut.append(-1 if size is None else size)
    return [op.sum(op("Reshape", dY, op.const(cut)), summed), None]


@gradient("Gather")
def gather(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X[indices] along `axis` (an embedding): every row of dY is added to the row it came from."""
    X, indices = node.inputs
    rank, q = len(op.shape(X)), len(op.shape(indices))
    axis = node.attr("axis", 0) % rank
    # The gathered axis first: X (size, rest), dY (indices..., rest).
    order = [axis, *(i for i in range(rank) if i != axis)]
    moved = [*range(axis, axis + q), *range(axis), *range(axis + q, rank + q - 1)]
    zeros = op("Expand", op.like(dY, 0), _sizes(op, X, order))
    rows = op("Transpose", dY, perm=moved)
    if op.dtype(indices) != np.int64:  # ScatterND takes no other
        indices = op("Cast", indices, to=op.element(op.const(0)))
    added = op("ScatterND", zeros, op("Unsqueeze", indices, op.const([-1])), rows, reduction="add")
    return [op("Transpose", added, perm=np.argsort(order).tolist()), None]


@gradient("GatherElements")
def gather_elements(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y[i, j] = X[indices[i, j], j] (axis 0): every element of dY is added where it came from."""
    X, indices = node.inputs
    zeros = op.expanded(op.like(dY, 0), X)
    return [op("ScatterElements", zeros, indices, dY, axis=node.attr("axis", 0), reduction="add"), None]


@gradient("GatherND")
def gather_nd(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y[i] = X[indices[i]]: every slice of dY is added where it came from."""
    X, indices = node.inputs
    if node.attr("batch_dims", 0):
        raise ExportError(f"node {node}: batch_dims has no gradient rule")
    zeros = op.expanded(op.like(dY, 0), X)
    return [op("ScatterND", zeros, indices, dY, reduction="add"), None]


@gradient("Trilu")
def trilu(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = the upper or lower triangle of X, zeros elsewhere: so is dX of dY."""
    return [op("Trilu", dY, *node.inputs[1:], upper=node.attr("upper", 1)), None][: len(node.inputs)]


@gradient("CumSum")
def cumulative_sum(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y[i] = the sum of X up to i: dX[i] is the sum of dY from i on."""
    exclusive, reverse = node.attr("exclusive", 0), node.attr("reverse", 0)
    return [op("CumSum", dY, node.inputs[1], exclusive=exclusive, reverse=1 - reverse), None]


@gradient("DepthToSpace")
def depth_to_space(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """X (N, C b b, H, W) -> Y (N, C, H b, W b): the elements go back, block by block."""
    b, (C, H, W) = node.attr("blocksize", 1), op.sample(node.inputs[0])
    apart = op("Reshape", dY, op.const([0, C // (b * b), H, b, W, b]))
    blocks_first = node.attr("mode", "DCR") == "DCR"
    turned = op("Transpose", apart, perm=[0, 3, 5, 1, 2, 4] if blocks_first else [0, 1, 3, 5, 2, 4])
    return [op("Reshape", turned, op.const([0, C, H, W]))]


@gradient("SpaceToDepth")
def space_to_depth(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """X (N, C, H b, W b) -> Y (N, C b b, H, W): the inverse of DepthToSpace's DCR."""
    return [op("DepthToSpace", dY, blocksize=node.attr("blocksize", 1))]


def _sizes(op: GraphBuilder, value: Value, order: list[int]) -> Value:
    """The dimensions of `value`, in another order."""
    known = [d for d in op.shape(value) if d is not None]
    if len(known) == len(order):
        return op.const([known[i] for i in order])
    return op("Gather", op("Shape", value), op.const(order))


def _known(node: GraphNode, index: int) -> Array:
    value = node.constant(index)
    if value is None:
        raise ExportError(f"node {node}: input {index} must be constant")
    return value
