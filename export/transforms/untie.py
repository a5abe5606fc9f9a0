"""Give each layer its own weights, where an exporter merged those that were equal.

PyTorch's exporters store one initializer for all that are equal at export time: the scales and biases of fresh
normalizations, zero biases, the layers of an encoder that were copied from one. In training they are different.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterable
from dataclasses import dataclass

import onnx

from export.graph.builder import Value

VIEWS = {"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
"""Operators that hand a weight on in another form; each reader of the result gets a node of its own."""

FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
}


@dataclass(frozen=True)
class Untied:
    """A graph without merged weights, and which weights that concerned."""

    proto: onnx.ModelProto
    copied: tuple[Value, ...]
    """initializers of which each reader has its own copy now"""
    kept: tuple[Value, ...]
    """initializers that are one parameter although several nodes read them"""


def untie(proto: onnx.ModelProto, repeated: Container[Value] = ()) -> Untied:
    """Copy each float initializer that several nodes apply to the data.

    An initializer stays one parameter where it is shared by design: as an embedding and an output layer (read by
    Gather and by a matrix product), or in arithmetic among weights (such as v / |v|).

    Args:
        proto: the model; it is left as it is.
        repeated: initializers that every pass of a loop reads, which are shared by design too.

    Returns:
        The model with the copies. The first reader keeps the name; an Identity gives the copy its own name.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graph = copy.graph
    weights = {t.name: t for t in graph.initializer if t.data_type in FLOATS and t.dims and t.name not in repeated}
    nodes = _split_views(graph, weights.keys())
    readers: defaultdict[Value, list[tuple[onnx.NodeProto, int]]] = defaultdict(list)
    for node in nodes:
        for i, value in enumerate(node.input):
            if value in weights:
                readers[value].append((node, i))
    data = _depends_on_data(graph, nodes)
    uses = {y: node.op_type for node in nodes for y in node.input}
    copied, kept = [], [t.name for t in graph.initializer if t.data_type in FLOATS and t.dims and t.name in repeated]
    removed: list[onnx.NodeProto] = []
    for name, slots in readers.items():
        if len(slots) < 2 and slots[0][0].op_type != "Identity":
            continue
        kinds = {node.op_type if node.op_type not in VIEWS else uses.get(node.output[0], "") for node, _ in slots}
        arithmetic = any(node.op_type not in VIEWS and data.isdisjoint(node.output) for node, _ in slots)
        if arithmetic or ("Gather" in kinds and kinds & {"MatMul", "Gemm"}):
            kept.append(name)
            continue
        copied += [name] if len(slots) > 1 else []
        keeper = next((n for n, (node, _) in enumerate(slots) if node.op_type != "Identity"), len(slots))
        for number, (node, i) in enumerate(slots[:keeper] + slots[keeper + 1 :], 2):
            tensor = graph.initializer.add()
            tensor.CopyFrom(weights[name])
            if node.op_type == "Identity":
                tensor.name = node.output[0]
                removed.append(node)
            else:
                tensor.name = node.input[i] = f"{name}#{number}"
    gone = {id(node) for node in removed}
    rest = [node for node in nodes if id(node) not in gone]
    del graph.node[:]
    graph.node.extend(rest)
    return Untied(copy, tuple(copied), tuple(kept))


def own_statistics(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give a batch normalization running statistics of its own where they were merged with what is trained.

    Args:
        proto: the model; it is left as it is.

    Returns:
        The same model, or a changed copy.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    weights = {t.name: t for t in proto.graph.initializer}
    identities = {n.output[0]: n.input[0] for n in proto.graph.node if n.op_type == "Identity"}
    trained = {
        x
        for n in proto.graph.node
        for i, x in enumerate(n.input)
        if n.op_type != "BatchNormalization" or i not in (3, 4)
    }
    changed = False
    for node in copy.graph.node:
        for i in (3, 4) if node.op_type == "BatchNormalization" else ():
            name = node.input[i]
            while name in identities:
                name = identities[name]
            if name not in weights or name not in trained:
                continue
            tensor = copy.graph.initializer.add()
            tensor.CopyFrom(weights[name])
            tensor.name = node.input[i] = f"{name}#{node.name or node.output[0]}/{('mean', 'variance')[i - 3]}"
            changed = True
    return copy if changed else proto


def _split_views(graph: onnx.GraphProto, weights: Iterable[Value]) -> list[onnx.NodeProto]:
    """The nodes, with one view of a weight for each reader of the view."""
    reads = Counter(x for node in graph.node for x in node.input)
    reads.update(o.name for o in graph.output)
    weights = set(weights)
    nodes: list[onnx.NodeProto] = []
    views: dict[Value, onnx.NodeProto] = {}
    number: Counter[Value] = Counter()
    for original in graph.node:
        node = onnx.NodeProto()
        node.CopyFrom(original)
        for i, value in enumerate(node.input):
            if value not in views:
                continue
            number[value] += 1
            if number[value] > 1:
                view = onnx.NodeProto()
                view.CopyFrom(views[value])
                node.input[i] = view.output[0] = f"{value}#{number[value]}"
                view.name = view.output[0]
                nodes.append(view)
        if node.op_type in VIEWS and node.input[0] in weights and reads[node.output[0]] > 1:
            views[node.output[0]] = node
        nodes.append(node)
    return nodes


def _depends_on_data(graph: onnx.GraphProto, nodes: Iterable[onnx.NodeProto]) -> set[Value]:
    """The values that depend on the model's input."""
    data = {i.name for i in graph.input} - {t.name for t in graph.initializer}
    for node in nodes:
        if not data.isdisjoint(node.input):
            data.update(y for y in node.output if y)
    return data
