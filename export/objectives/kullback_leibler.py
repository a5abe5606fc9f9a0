"""Kullback-Leibler divergence with temperature (Hinton et al. 2015): T^2 mean over rows of KL(q || p).

q = softmax(teacher logits / T) and p = softmax(logits / T); the factor T^2 keeps the gradient's size when T changes.
Gradient: T (p - q) / n. The teacher's entropy is part of the value, so that 0 means equal. Of a multi-label model it is
the sum over its labels of the divergences of Bernoulli distributions, with sigmoids in place of the softmax.
"""

from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target_logits` (n, K, ...) float32, the teacher's, and the scalar `temperature`."""
    if rows.task.link == "identity":
        raise ExportError("kullback_leibler compares distributions; a regression distils with squared_error")
    T = rows.scalar("temperature", 1.0)
    teacher, student = op("Div", rows.target("target_logits"), T), op("Div", rows.logits, T)
    divergence = _bernoulli if rows.task.link == "sigmoid" else _categorical
    mean = op("ReduceMean", op("ReduceSum", divergence(op, teacher, student), op.const([1]), keepdims=0), keepdims=0)
    return op("Mul", mean, op("Mul", T, T))


def _categorical(op: GraphBuilder, teacher: Value, student: Value) -> Value:
    """Summands q (log q - log p), of logits."""
    log_q, log_p = op("LogSoftmax", teacher, axis=1), op("LogSoftmax", student, axis=1)
    return op("Mul", op("Exp", log_q), op("Sub", log_q, log_p))


def _bernoulli(op: GraphBuilder, teacher: Value, student: Value) -> Value:
    """KL of each label: q (t - s) + softplus(s) - softplus(t), of logits t and s."""
    along = op("Mul", op("Sigmoid", teacher), op("Sub", teacher, student))
    return op("Add", along, op("Sub", op("Softplus", student), op("Softplus", teacher)))


SPEC = ObjectiveSpec(build=build)
