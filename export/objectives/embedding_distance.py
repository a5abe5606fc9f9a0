"""Distance of normalized embeddings (Zhmoginov et al. 2022): mean over rows of ||e/|e| - t/|t|| ||^2.

e is the model's embedding (`--embedding`), t the teacher's; both have the same number of features.
"""

from math import prod

import numpy as np

from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.objectives import ObjectiveSpec, Rows

SMALLEST = 1e-12
"""added to squared lengths, so that an embedding of zeros has the direction 0"""


def build(op: GraphBuilder, rows: Rows) -> Value:
    """Append the loss. Reads `target_embedding` (n, features) float32, of any length."""
    if rows.embedding is None:
        raise ExportError("embedding_distance needs a model whose embedding is named; export with --embedding")
    features = prod(op.sample(rows.embedding))
    ours = op("Reshape", rows.embedding, op.const([-1, features]))
    theirs = rows.argument("target_embedding", np.float32, "n", features)
    error = op("Sub", _direction(op, ours), _direction(op, theirs))
    return op("ReduceMean", op.squares(error, [1]), keepdims=0)


def _direction(op: GraphBuilder, vectors: Value) -> Value:
    squared = op.squares(vectors, [1], keepdims=True)
    return op("Div", vectors, op("Sqrt", op("Add", squared, op.like(squared, SMALLEST))))


SPEC = ObjectiveSpec(build=build)
