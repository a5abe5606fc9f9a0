"""Make a token table and the output layer one parameter again where an exporter wrote the shared weight twice.

GPT-2's output layer is the transpose of its token table. PyTorch's exporters turn it at export time, and store the
result beside the table: two initializers that hold the same numbers, of which only one would follow the other.
"""

from collections import defaultdict

import numpy as np
import onnx
from onnx import helper, numpy_helper

from export.graph.builder import Array, Value

PRODUCTS = {"Gemm", "MatMul"}


def retie(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[Value, Value]]:
    """Compute an output layer's weight from the token table that holds the same numbers.

    Args:
        proto: the model; it is left as it is.

    Returns:
        The same model, or a changed copy; and the weights that are computed now, with the table of each.
    """
    readers: defaultdict[Value, list[tuple[str, int]]] = defaultdict(list)
    for node in proto.graph.node:
        for i, value in enumerate(node.input):
            readers[value].append((node.op_type, i))
    matrices = {t.name: t for t in proto.graph.initializer if len(t.dims) == 2}
    tables = {name: t for name, t in matrices.items() if ("Gather", 0) in readers[name]}
    views: dict[Value, onnx.NodeProto] = {}
    for name, tensor in matrices.items():
        if name in tables or not all(op_type in PRODUCTS and i == 1 for op_type, i in readers[name]):
            continue
        for table, source in tables.items():
            if tensor.data_type == source.data_type and (view := _view(tensor, source)):
                views[name] = helper.make_node(view, [table], [name], name=name)
    if not views:
        return proto, {}
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    rest = [tensor for tensor in proto.graph.initializer if tensor.name not in views]
    del copy.graph.initializer[:], copy.graph.node[:]
    copy.graph.initializer.extend(rest)
    copy.graph.node.extend([*views.values(), *proto.graph.node])
    return copy, {name: view.input[0] for name, view in views.items()}


def _view(tensor: onnx.TensorProto, table: onnx.TensorProto) -> str | None:
    """The operator that computes a weight from a table of the same numbers; None if they differ.

    A table of one number says nothing: any other fresh weight may be equal to it.
    """
    same, turned = list(tensor.dims) == list(table.dims), list(tensor.dims) == list(table.dims)[::-1]
    if not (same or turned):
        return None
    weight: Array = numpy_helper.to_array(tensor)
    numbers: Array = numpy_helper.to_array(table)
    if not (numbers != numbers.flat[0]).any():
        return None
    if turned and np.array_equal(weight, numbers.T):
        return "Transpose"
    return "Identity" if same and np.array_equal(weight, numbers) else None
