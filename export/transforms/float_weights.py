"""Bring every weight to the one form that is trained: a float32 initializer.

paddle2onnx writes weights as Constant nodes, other tools as ConstantOfShape, in half precision behind a Cast, or in
float64.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.graph.builder import Array, Value

OTHER_FLOATS = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "float64",
}

LAYERS = {"Conv", "ConvTranspose", "Gemm", "MatMul"}
"""Operators behind which an Add is a bias."""

WEIGHT_INPUTS = {
    "Add": (0, 1),  # where the other operand comes from one of `LAYERS`
    "BatchNormalization": (1, 2, 3, 4),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "GRU": (1, 2, 3),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "PRelu": (1,),
    "RNN": (1, 2, 3),
}
"""The inputs of each operator that are weights wherever they do not depend on the data."""


def widen(proto: onnx.ModelProto) -> tuple[onnx.ModelProto, tuple[str, ...]]:
    """Turn all floats of another precision into float32.

    Args:
        proto: the model; it is left as it is.

    Returns:
        The same model, or a changed copy; and the names of the precisions that it had.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    changed: set[int] = set()

    def element(kind: int) -> int:
        if kind in OTHER_FLOATS:
            changed.add(kind)
            return int(TensorProto.FLOAT)
        return kind

    graph = copy.graph
    for tensor in graph.initializer:
        _widen_tensor(tensor, element)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.elem_type = element(value.type.tensor_type.elem_type)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in ("to", "dtype") and attribute.type == onnx.AttributeProto.INT:
                attribute.i = element(attribute.i)
            elif attribute.type == onnx.AttributeProto.TENSOR:
                _widen_tensor(attribute.t, element)
    if not changed:
        return proto, ()
    del graph.value_info[:]
    weights = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    casts = [n for n in graph.node if n.op_type == "Cast" and n.input[0] in weights and _floats(n)]
    rename = {cast.output[0]: cast.input[0] for cast in casts}
    rest = [n for n in graph.node if not (n.op_type == "Cast" and n.output[0] in rename)]
    for node in rest:
        node.input[:] = [rename.get(x, x) for x in node.input]
    _replace_nodes(graph, rest)
    return copy, tuple(name for kind, name in OTHER_FLOATS.items() if kind in changed)


def initializers(
    proto: onnx.ModelProto, value_of: Callable[[onnx.NodeProto], Array]
) -> tuple[onnx.ModelProto, tuple[Value, ...]]:
    """Make initializers of the weights that nodes hold.

    Args:
        proto: the model; it is left as it is.
        value_of: the value of a Constant node.

    Returns:
        The same model, or a changed copy; and the weights that were Constant or ConstantOfShape nodes.
    """
    producers = {y: node for node in proto.graph.node for y in node.output}
    known = {t.name: t for t in proto.graph.initializer}
    weights: dict[Value, Array] = {}
    for name in _read_as_weights(proto.graph.node, producers):
        node = producers.get(name)
        value = None
        if node is not None and node.op_type == "Constant":
            value = value_of(node)
        elif node is not None and node.op_type == "ConstantOfShape":
            value = _filled(node, known, producers, value_of)
        if value is not None and value.dtype == np.float32 and value.ndim:
            weights[name] = value
    if not weights:
        return proto, ()
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    copy.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in weights.items())
    _replace_nodes(copy.graph, [n for n in copy.graph.node if weights.keys().isdisjoint(n.output)])
    return copy, tuple(weights)


def _read_as_weights(nodes: Iterable[onnx.NodeProto], producers: dict[Value, onnx.NodeProto]) -> list[Value]:
    """The values that some node reads as a weight, those behind a Transpose or an Identity included."""
    names: dict[Value, None] = {}
    for node in nodes:
        if node.op_type == "Add" and not any(x in producers and producers[x].op_type in LAYERS for x in node.input):
            continue
        for i in WEIGHT_INPUTS.get(node.op_type, ()):
            name = node.input[i] if i < len(node.input) else ""
            while name in producers and producers[name].op_type in ("Identity", "Transpose"):
                name = producers[name].input[0]
            names[name] = None
    return list(names)


def _filled(
    node: onnx.NodeProto,
    known: dict[Value, TensorProto],
    producers: dict[Value, onnx.NodeProto],
    value_of: Callable[[onnx.NodeProto], Array],
) -> Array | None:
    """The value of a ConstantOfShape whose shape is known."""
    source = node.input[0]
    if source in known:
        shape = numpy_helper.to_array(known[source])
    elif source in producers and producers[source].op_type == "Constant":
        shape = value_of(producers[source])
    else:
        return None
    fill: Any = np.zeros(1, np.float32)
    for attribute in node.attribute:
        fill = numpy_helper.to_array(attribute.t)
    return np.full(shape.tolist(), fill[0], fill.dtype)


def _widen_tensor(tensor: TensorProto, element: Callable[[int], int]) -> None:
    if element(tensor.data_type) != tensor.data_type:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))


def _floats(cast: onnx.NodeProto) -> bool:
    return any(a.name == "to" and a.i == TensorProto.FLOAT for a in cast.attribute)


def _replace_nodes(graph: onnx.GraphProto, nodes: list[onnx.NodeProto]) -> None:
    copies = []
    for node in nodes:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)
