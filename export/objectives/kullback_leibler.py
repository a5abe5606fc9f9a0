"""Kullback-Leibler divergence with temperature (Hinton et al. 2015): T^2 mean over rows of KL(q || p).

q = softmax(teacher logits / T) and p = softmax(logits / T); the factor T^2 keeps the gradient's size
when T changes. Gradient: T (p - q) / n. The teacher's entropy is part of the value, so that 0 means equal.
"""

from export.graph.builder import GraphBuilder, Value
from export.objectives import Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target_logits` (n, K) float32, the teacher's, and the scalar `temperature`."""
    T = rows.scalar("temperature", 1.0)
    teacher = op("LogSoftmax", op("Div", rows.target("target_logits"), T), axis=1)
    student = op("LogSoftmax", op("Div", rows.logits, T), axis=1)
    products = op("Mul", op("Exp", teacher), op("Sub", teacher, student))
    mean = op("ReduceMean", op("ReduceSum", products, op.const([1]), keepdims=0), keepdims=0)
    return op("Mul", mean, op("Mul", T, T))
