"""Gradients of matrix products."""

from collections.abc import Sequence
from math import prod

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Size, Value, gradient, macs


@gradient("Gemm")
def gemm(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y (N, M) = alpha A' B' + beta C, with A' (N, K) and B' (K, M) transposed on request.

    dA' = alpha dY B'^T    dB' = alpha A'^T dY    dC = beta dY, summed to C's shape by the walk
    """
    A, B, *C = node.inputs
    alpha, beta = node.attr("alpha", 1.0), node.attr("beta", 1.0)
    tA, tB = node.attr("transA", 0), node.attr("transB", 0)
    dA = op("Gemm", B, dY, transA=tB, transB=1, alpha=alpha) if tA else op("Gemm", dY, B, transB=1 - tB, alpha=alpha)
    dB = op("Gemm", dY, A, transA=1, transB=tA, alpha=alpha) if tB else op("Gemm", A, dY, transA=1 - tA, alpha=alpha)
    dC = dY if beta == 1.0 else op("Mul", dY, op.like(dY, beta))
    return [dA, dB, dC][: 2 + len(C)]


@gradient("MatMul")
def matmul(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y (..., N, M) = A (..., N, K) B (..., K, M), leading axes broadcast.

    dA = dY B^T    dB = A^T dY. With a plain matrix B the batch folds into the rows, so that
    dB is one product instead of a sum of many.
    """
    A, B = node.inputs
    ranks = len(node.shape(0)), len(node.shape(1))
    if min(ranks) < 2:
        return _with_vectors(op, node, dY)
    if ranks == (2, 2):
        return [op("Gemm", dY, B, transB=1), op("Gemm", A, dY, transA=1)]
    if ranks[1] == 2:
        K, M = node.shape(1)
        if K is not None and M is not None:
            rows = op("Reshape", A, op.const([-1, K])), op("Reshape", dY, op.const([-1, M]))
            return [op("MatMul", dY, op.swapped(B)), op("Gemm", *rows, transA=1)]
    return [op("MatMul", dY, op.swapped(B)), op("MatMul", op.swapped(A), dY)]


def _with_vectors(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """A vector on the left is a row, on the right a column, and its axis is not in Y."""
    A, B = node.inputs
    row, column = len(node.shape(0)) == 1, len(node.shape(1)) == 1
    A = op("Unsqueeze", A, op.const([0])) if row else A
    B = op("Unsqueeze", B, op.const([1])) if column else B
    if column:
        dY = op("Unsqueeze", dY, op.const([-1]))
    if row:
        dY = op("Unsqueeze", dY, op.const([-2]))
    dA, dB = op("MatMul", dY, op.swapped(B)), op("MatMul", op.swapped(A), dY)
    # The walk sums leading axes away; the one that was put in goes first.
    return [op("Squeeze", dA, op.const([-2])) if row else dA, op("Squeeze", dB, op.const([-1])) if column else dB]


@gradient("Einsum")
def einsum(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = sum of products over named axes: each operand's adjoint is such a sum of dY and the others.

    An axis of one operand alone was summed: its adjoint is the same all along it. Without an arrow, the
    axes named once are the output's, in alphabetical order. No ellipsis, and no axis twice in an operand.
    """
    left, arrow, right = node.attr("equation", "").replace(" ", "").partition("->")
    operands = left.split(",")
    if not arrow:
        right = "".join(sorted(c for c in set(left) - {","} if left.count(c) == 1))
    if "." in left or any(len(set(o)) < len(o) for o in operands):
        raise ExportError(f"node {node}: the equation '{node.attr('equation', '')}' has no gradient rule")
    adjoints: list[Value | None] = []
    for i, operand in enumerate(operands):
        others = [j for j in range(len(operands)) if j != i]
        there = set(right).union(*(operands[j] for j in others))
        axes = "".join(c for c in operand if c in there)
        equation = ",".join([right, *(operands[j] for j in others)]) + "->" + axes
        adjoint = op("Einsum", dY, *(node.inputs[j] for j in others), equation=equation)
        if alone := [at for at, c in enumerate(operand) if c not in there]:
            adjoint = op.expanded(op("Unsqueeze", adjoint, op.const(alone)), node.inputs[i])
        adjoints.append(adjoint)
    return adjoints


@macs("Gemm", "MatMul")
def product_macs(node: GraphNode, inputs: Sequence[Size], output: Size) -> int:
    """A sum over the contracted axis per output element."""
    return prod(output) * (inputs[0][0] if node.attr("transA", 0) else inputs[0][-1])


@macs("Einsum")
def einsum_macs(node: GraphNode, inputs: Sequence[Size], output: Size) -> int:
    """The product of all axes that the equation names."""
    operands = node.attr("equation", "").replace(" ", "").split("->")[0].split(",")
    axes = {c: d for operand, size in zip(operands, inputs, strict=True) for c, d in zip(operand, size, strict=True)}
    return prod(axes.values())
