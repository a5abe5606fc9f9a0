"""Gradients of matrix products."""

from export.errors import ExportError
from export.gradients import Adjoints, Node, Ops, Value, gradient


@gradient("Gemm")
def gemm(op: Ops, node: Node, dY: Value) -> Adjoints:
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
def matmul(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y (..., N, M) = A (..., N, K) B (..., K, M), leading axes broadcast.

    dA = dY B^T    dB = A^T dY. With a plain matrix B the batch folds into the rows, so that
    dB is one product instead of a sum of many.
    """
    A, B = node.inputs
    ranks = len(node.shape(0)), len(node.shape(1))
    if min(ranks) < 2:
        raise ExportError(f"node {node}: no gradient for a vector operand; reshape it to a matrix first")
    if ranks == (2, 2):
        return [op("Gemm", dY, B, transB=1), op("Gemm", A, dY, transA=1)]
    if ranks[1] == 2:
        K, M = node.shape(1)
        if K is not None and M is not None:
            rows = op("Reshape", A, op.const([-1, K])), op("Reshape", dY, op.const([-1, M]))
            return [op("MatMul", dY, op.swapped(B)), op("Gemm", *rows, transA=1)]
    return [op("MatMul", dY, op.swapped(B)), op("MatMul", op.swapped(A), dY)]


@gradient("Einsum")
def einsum(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = sum of products over named axes: each operand's adjoint is such a sum of dY and the others.

    Covers equations without ellipsis in which no operand repeats an axis, and every axis of an operand
    is in the output or in another operand.
    """
    left, arrow, right = node.attr("equation", "").replace(" ", "").partition("->")
    operands = left.split(",")
    if not arrow or "." in left or any(len(set(o)) < len(o) for o in operands):
        raise ExportError(f"node {node}: the equation '{node.attr('equation', '')}' has no gradient rule")
    adjoints: list[Value | None] = []
    for i, (operand, wanted) in enumerate(zip(operands, node.wanted, strict=True)):
        others = [j for j in range(len(operands)) if j != i]
        if not set(operand) <= set(right).union(*(operands[j] for j in others)):
            if wanted:
                raise ExportError(f"node {node}: an axis of '{operand}' is summed alone; use ReduceSum for it")
            adjoints.append(None)
            continue
        equation = ",".join([right, *(operands[j] for j in others)]) + "->" + operand
        adjoints.append(op("Einsum", dY, *(node.inputs[j] for j in others), equation=equation))
    return adjoints
