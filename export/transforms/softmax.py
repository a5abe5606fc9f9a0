"""A final softmax that an exporter has written out, as exp(x) / sum(exp(x))."""

from collections.abc import Mapping

import onnx

REPEATING = ("Reshape", "Expand", "Unsqueeze", "Squeeze", "Identity", "Cast")
"""operators that only bring the sum of a row into the shape of the row"""


def written_out(node: onnx.NodeProto, producers: Mapping[str, onnx.NodeProto]) -> str | None:
    """Return the value whose softmax a Div computes; None if it computes something else.

    That a row's maximum may have been taken off before changes nothing: softmax(x - c) = softmax(x).

    Args:
        node: the last one of a model.
        producers: value -> the node that computes it.
    """
    if node.op_type != "Div":
        return None
    exponential, total = producers.get(node.input[0]), producers.get(node.input[1])
    while total is not None and total.op_type in REPEATING:
        total = producers.get(total.input[0])
    if exponential is None or exponential.op_type != "Exp" or total is None or total.op_type != "ReduceSum":
        return None
    return exponential.input[0] if total.input[0] == exponential.output[0] else None
