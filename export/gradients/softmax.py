"""Gradients of the softmax family. X and Y have the same shape; sums run over `axis`."""

from export.errors import ExportError
from export.gradients import Adjoints, Node, Ops, Value, gradient


@gradient("Softmax")
def softmax(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = exp X / sum exp X: dX = Y (dY - sum(Y dY))."""
    Y = node.outputs[0]
    inner = op.sum(op("Mul", Y, dY), [node.attr("axis", -1)], keepdims=True)
    return [op("Mul", Y, op("Sub", dY, inner))]


@gradient("LogSoftmax")
def log_softmax(op: Ops, node: Node, dY: Value) -> Adjoints:
    """Y = X - log sum exp X: dX = dY - exp(Y) sum(dY)."""
    total = op.sum(dY, [node.attr("axis", -1)], keepdims=True)
    return [op("Sub", dY, op("Mul", op("Exp", node.outputs[0]), total))]


@gradient("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(op: Ops, node: Node, dL: Value, d_log_p: Value | None = None) -> Adjoints:
    """L = -mean log p[label], logits (N, K), labels (N,): dlogits = dL (p - onehot) / N.

    p is recovered from the second output, log p, which the loss computed anyway.
    """
    scores, labels = node.inputs[:2]
    if (
        d_log_p is not None
        or len(node.inputs) > 2
        or node.has("ignore_index")
        or node.attr("reduction", "mean") != "mean"
    ):
        raise ExportError(f"node {node}: only the plain mean over rows has a gradient rule")
    if len(node.outputs) < 2 or len(op.shape(scores)) != 2:
        raise ExportError(f"node {node}: needs logits (N, K) and its second output, log_prob")
    (K,) = op.sample(scores)
    values = op("CastLike", op.const([0.0, 1.0], op.dtype(scores)), scores)
    onehot = op("OneHot", labels, op.const(K), values)
    rows = op("CastLike", op("Shape", labels), scores)
    return [op("Mul", op("Sub", op("Exp", node.outputs[1]), onehot), op("Div", dL, rows)), None]
