"""Gradients of the discrete Fourier transforms.

The transform of N numbers, y = F x with F[k, n] = exp(-2 pi i k n / N), is linear. As a map of real and imaginary parts
its adjoint is the conjugate transpose, N times the inverse transform: dX = N F^-1 dY. Of a real X only the real part
counts; what was cut off X has gradient 0, and so has what the zeros that X was filled up with would have.
"""

import numpy as np

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient
from export.graph.builder import Array


@gradient("DFT")
def dft(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """X (..., n, ..., 1 or 2) -> Y (..., N, ..., 2), or the first N // 2 + 1 of them, or back."""
    shape = node.shape(0)
    axis, length = _axis(op, node) % len(shape), _number(node, 1)
    size, inverse, onesided = shape[axis], node.attr("inverse", 0), node.attr("onesided", 0)
    if size is None:
        raise ExportError(f"node {node}: axis {axis} has a size known only at run time")
    N = length or (2 * (size - 1) if inverse and onesided else size)
    if inverse and onesided:
        dX = _resized(op, _transform(op, dY, axis, N, inverse=0), axis, N // 2 + 1)
        # All but the first, and the middle one, stand for two: their conjugates are left out.
        twice = np.where(np.isin(np.arange(N // 2 + 1), (0, N / 2)), 1, 2) / N
        weights = op.const(twice.reshape(-1, *[1] * (len(shape) - 1 - axis)), op.dtype(dY))
        return [_resized(op, op("Mul", dX, weights), axis, size), *[None] * (len(node.inputs) - 1)]
    dX = _transform(op, _resized(op, dY, axis, N), axis, N, inverse=1 - inverse)
    dX = op("Mul", dX, op.like(dX, 1 / N if inverse else N))
    dX = _resized(op, dX, axis, size)
    return [_real(op, dX) if shape[-1] == 1 else dX, *[None] * (len(node.inputs) - 1)]


@gradient("STFT")
def stft(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """X (B, L, 1 or 2) -> Y (B, frames, N or N // 2 + 1, 2), where frame t begins at t * step, times a window.

    The adjoints of the frames are added up where the frames overlap.
    """
    X, window, (_, frames, *_) = node.inputs[0], node.inputs[2] if node.given(2) else None, op.shape(dY)
    if window is None:  # onnx infers no shape for such a node
        raise ExportError(f"node {node}: write its window out, as ones")
    parts, (N,), step = op.sample(X)[-1], op.shape(window), _number(node, 1)
    if frames is None or N is None or step is None:
        raise ExportError(f"node {node}: its frames must be known at export time")
    dF = _transform(op, _resized(op, dY, 2, N), 2, N, inverse=1)
    dF = op("Mul", dF, op.like(dF, N))  # (B, frames, N, 2), of the frames times the window
    dF = _real(op, dF) if parts == 1 else dF
    cells = np.arange(N) + np.arange(frames)[:, None] * step
    dW = op.sum(op("Mul", dF, op("Gather", X, op.const(cells), axis=1)), [0, 1, 3])
    spread = op("Mul", dF, op("Unsqueeze", window, op.const([-1])))
    spread = op("Reshape", spread, op.const([0, frames * N, parts]))
    zeros = op.expanded(op.like(dY, 0), X)
    places = op.expanded(op.const(cells.reshape(1, -1, 1)), spread)
    dX = op("ScatterElements", zeros, places, spread, axis=1, reduction="add")
    return [dX, None, dW, None][: len(node.inputs)]


def _transform(op: GraphBuilder, value: Value, axis: int, length: int, *, inverse: int) -> Value:
    if op.opset >= 20:
        return op("DFT", value, op.const(length), op.const(axis), inverse=inverse)
    return op("DFT", value, op.const(length), axis=axis, inverse=inverse)


def _resized(op: GraphBuilder, value: Value, axis: int, size: int) -> Value:
    """The first `size` elements along an axis, zeros after the last."""
    have = op.shape(value)[axis]
    if have is None or have > size:
        return op("Slice", value, op.const([0]), op.const([size]), op.const([axis]))
    if have == size:
        return value
    pads = [0] * 2 * len(op.shape(value))
    pads[len(pads) // 2 + axis] = size - have
    return op("Pad", value, op.const(pads))


def _real(op: GraphBuilder, value: Value) -> Value:
    return op("Slice", value, op.const([0]), op.const([1]), op.const([-1]))


def _axis(op: GraphBuilder, node: GraphNode) -> int:
    if op.opset < 20:
        return int(node.attr("axis", 1))
    axis = _number(node, 2)
    return -2 if axis is None else axis


def _number(node: GraphNode, index: int) -> int | None:
    """A setting that is an input; None where it is left out."""
    if not node.given(index):
        return None
    value: Array | None = node.constant(index)
    if value is None:
        raise ExportError(f"node {node}: input {index} must be constant")
    return int(value.item())
