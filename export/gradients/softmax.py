"""Gradients of the softmax family. X and Y have the same shape; sums run over `axis`."""

from export.errors import ExportError
from export.gradients import Adjoints, GraphBuilder, GraphNode, Value, gradient


@gradient("Softmax")
def softmax(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = exp X / sum exp X: dX = Y (dY - sum(Y dY))."""
    Y = node.outputs[0]
    inner = op.sum(op("Mul", Y, dY), [node.attr("axis", -1)], keepdims=True)
    return [op("Mul", Y, op("Sub", dY, inner))]


@gradient("LogSoftmax")
def log_softmax(op: GraphBuilder, node: GraphNode, dY: Value) -> Adjoints:
    """Y = X - log sum exp X: dX = dY - exp(Y) sum(dY)."""
    total = op.sum(dY, [node.attr("axis", -1)], keepdims=True)
    return [op("Sub", dY, op("Mul", op("Exp", node.outputs[0]), total))]


@gradient("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    op: GraphBuilder, node: GraphNode, dL: Value | None, d_log_p: Value | None = None
) -> Adjoints:
    """L = -w[label] log p[label], averaged, summed, or a row each; scores (N, K, ...), labels (N, ...).

    dscores = c (p - onehot), with c = dL w[label] for each row (over the sum of all w[label] for the mean),
    and 0 where the label is the one to ignore. p is recovered from the second output, log p, which the loss
    computed anyway.
    """
    scores, labels = node.inputs[:2]
    if len(node.outputs) < 2 or not node.outputs[1]:
        raise ExportError(f"node {node}: needs its second output, log_prob")
    K = op.shape(scores)[1]
    if K is None:
        raise ExportError(f"node {node}: the number of classes must be known")
    p = op("Exp", node.outputs[1])
    dscores: Value | None = None
    if dL is not None:
        values = op("CastLike", op.const([0.0, 1.0], op.dtype(scores)), scores)
        onehot = op("OneHot", labels, op.const(K), values, axis=1)
        reduction, plain = node.attr("reduction", "mean"), not (node.given(2) or node.has("ignore_index"))
        if reduction == "mean" and plain:
            scale = op("Div", dL, op("CastLike", op("Size", labels), scores))
        else:
            weights = _label_weights(op, node, labels, scores)
            if reduction == "none":
                scale = op("Unsqueeze", op("Mul", weights, dL), op.const([1]))
            else:
                share = dL if reduction == "sum" else op("Div", dL, op("ReduceSum", weights, keepdims=0))
                scale = op("Unsqueeze", op("Mul", weights, share), op.const([1]))
        dscores = op("Mul", op("Sub", p, onehot), scale)
    if d_log_p is not None:
        through = op("Sub", d_log_p, op("Mul", p, op.sum(d_log_p, [1], keepdims=True)))
        dscores = through if dscores is None else op("Add", dscores, through)
    return [dscores, None, None][: len(node.inputs)]


def _label_weights(op: GraphBuilder, node: GraphNode, labels: Value, scores: Value) -> Value:
    """The weight of each row's class, in the labels' shape; 0 where the label is the one to ignore."""
    ones = op("Expand", op.like(scores, 1), op.sizes(labels))
    ignored = None
    if node.has("ignore_index"):
        ignored = op("Equal", labels, op("CastLike", op.const(node.attr("ignore_index", 0)), labels))
    if node.given(2):
        zero = op("CastLike", op.const(0), labels)
        readable = labels if ignored is None else op("Where", ignored, zero, labels)
        ones = op("Gather", node.inputs[2], readable)
    return ones if ignored is None else op("Where", ignored, op.like(scores, 0), ones)
