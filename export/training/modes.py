"""Operators that a training graph holds in another form than the model: dropout, normalizations, implicit padding."""

from collections.abc import Callable
from dataclasses import dataclass, field

import onnx
from onnx import helper

from edge import bundle
from export.graph.builder import GraphBuilder, Value
from export.graph.node import GraphNode, uses_batch_statistics
from export.graph.padding import write_padding


@dataclass
class Mode:
    """Whether a graph trains, and what its nodes need besides their operands."""

    training: bool
    updates: dict[Value, Value] = field(default_factory=dict)
    """parameter -> its next value, for running statistics"""
    noise: dict[Value, float] = field(default_factory=dict)
    """mask input -> probability that it keeps an element"""
    least_rows: int = 1
    """rows without which a normalization by the batch has nothing to normalize by"""


def append_node(op: GraphBuilder, node: onnx.NodeProto, mode: Mode) -> None:
    """Append a model's node in the form that `mode` asks for."""
    if (special := SPECIAL.get(node.op_type)) is not None:
        special(op, node, mode)
    else:
        op.append(node)


def _batch_normalization(op: GraphBuilder, node: onnx.NodeProto, mode: Mode) -> None:
    """While training, momentum 0 makes the node itself output the batch's mean and variance.

    ONNX Runtime writes them over the running statistics it is given, even over inputs of the graph (1.17 to 1.31).
    So each node is given throw-away values that nothing else reads; they differ from node to node, since no two nodes
    may share them, even where a model applies one normalization twice.
    """
    del node.output[1:]
    if not uses_batch_statistics(node):
        op.append(node)
        return
    view = GraphNode(op, node, [])
    momentum, epsilon = view.attr("momentum", 0.9), view.attr("epsilon", 1e-5)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("epsilon", epsilon))
    if not mode.training:
        op.append(node)
        return
    if all(size == 1 for size in op.shape(node.input[0])[2:]):
        mode.least_rows = 2
    node.attribute.append(helper.make_attribute("training_mode", 1))
    node.attribute.append(helper.make_attribute("momentum", 0.0))
    statistics = list(node.input[3:5])
    measured = [op.fresh("mean"), op.fresh("variance")]
    unique = 2.0 + sum(n.op_type == "BatchNormalization" for n in op.nodes)
    node.input[3:5] = [op("Mul", running, op.like(running, unique)) for running in statistics]
    node.output.extend(measured)
    op.append(node)
    for running, now in zip(statistics, measured, strict=True):
        op.assume(now, running)
        kept = op("Mul", mode.updates.get(running, running), op.like(running, momentum))
        mode.updates[running] = op("Add", kept, op("Mul", now, op.like(now, 1 - momentum)))


def _dropout(op: GraphBuilder, node: onnx.NodeProto, mode: Mode) -> None:
    """While training, a product with a mask that is a run-time input: 0, or 1 / the share that is kept."""
    X, Y = node.input[0], node.output[0]
    ratio, training = (
        op.constants.get(node.input[i]) if len(node.input) > i and node.input[i] else None for i in (1, 2)
    )
    if not mode.training or training is None or not training.any():
        op.append(helper.make_node("Identity", [X], [Y], name=node.name))
        return
    mask = op.argument(bundle.NOISE + node.name, op.dtype(X), ["rows", *op.sample(X)])
    mode.noise[mask] = 1 - (0.5 if ratio is None else float(ratio))
    op.append(helper.make_node("Mul", [X, mask], [Y], name=node.name))


def _windowed(op: GraphBuilder, node: onnx.NodeProto, _: Mode) -> None:
    write_padding(op, node)
    op.append(node)


def _recurrent(op: GraphBuilder, node: onnx.NodeProto, _: Mode) -> None:
    """The gradient reads the states of all steps, which need a name even where nothing else reads them."""
    if not node.output[0]:
        node.output[0] = op.fresh("states")
    op.append(node)


def _layer_normalization(op: GraphBuilder, node: onnx.NodeProto, mode: Mode) -> None:
    """While training its statistics are named, so that the gradient can read them."""
    if mode.training and len(node.output) == 1:
        node.output.extend([op.fresh("mean"), op.fresh("inverse_deviation")])
    op.append(node)


SPECIAL: dict[str, Callable[[GraphBuilder, onnx.NodeProto, Mode], None]] = {
    "Conv": _windowed,
    "ConvTranspose": _windowed,
    "MaxPool": _windowed,
    "AveragePool": _windowed,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LayerNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
}
"""How each of these operators is appended."""
