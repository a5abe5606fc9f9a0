"""Cross-entropy with soft labels, of what the model says its outputs are distributed as.

    classification   -mean over rows of target . log softmax(logits)
    multi-label       mean over rows of sum_k [softplus(z_k) - target_k z_k], Bernoulli in each label
    regression        mean over rows of ||logits - target||^2 / 2, Gaussian with variance 1, without its constant

Its gradient is (outputs - target) / n in all three (for softmax where the rows of the target sum to 1; it is exact for
any target). Of a model with positions it is the mean over rows and positions.
"""

from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target` (n, K, ...) float32: probabilities, or numbers of a regression."""
    z, target = rows.logits, rows.target()
    if rows.task.link == "identity":
        error = op("Sub", z, target)
        return op("Mul", op("ReduceMean", op.squares(error, [1]), keepdims=0), op.like(z, 0.5))
    if rows.task.link == "sigmoid":
        terms = op("Sub", op("Softplus", z), op("Mul", target, z))
        return op("ReduceMean", op.sum(terms, [1]), keepdims=0)
    products = op("Mul", target, op("LogSoftmax", z, axis=1))
    return op("Neg", op("ReduceMean", op("ReduceSum", products, op.const([1]), keepdims=0), keepdims=0))


SPEC = ObjectiveSpec(build=build)
