"""Gather(table, Cast(x)) -> the same, where a negative index is an error as one is that is too large.

ONNX counts negative indices from the end, so -1 quietly reads the last row of a table. Who computes with integers may
mean that; of a float that was cast to an integer nobody does. The values are the same for every index that a table has.
Gains nothing and costs two operations on the indices. What the model's caller gives is checked by the engine instead
(`vocabulary` in the manifest).
"""

import onnx

from export.graph.builder import GraphBuilder, Value
from export.graph.node import attributes
from export.graph.rewrite import Rewrite, ValueIndex
from export.model import PASSED_ON

BEYOND = 2**31 - 1
"""more rows than any table has"""


def apply(op: GraphBuilder, node: onnx.NodeProto, index: ValueIndex) -> Value | None:
    """Read beyond the table where the index is negative, if it was computed as a float."""
    table, rows = node.input
    if not _was_float(op, rows, index):
        return None
    valid = op("Where", op("Less", rows, op.like(rows, 0)), op.like(rows, BEYOND), rows)
    return op(node.op_type, table, valid, **attributes(node))


def _was_float(op: GraphBuilder, value: Value, index: ValueIndex) -> bool:
    source = index.producer(value)
    while source is not None and source.op_type in PASSED_ON:
        if op.floats(source.input[0]):
            return op.producer(source.input[0]) is not None
        source = index.producer(source.input[0])
    return False


REWRITE = Rewrite(frozenset({"Gather", "GatherElements", "GatherND"}), apply)
