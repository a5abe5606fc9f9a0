"""A model's nodes put into a graph under construction, and a finished graph written out."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

import edge.bundle as names
from export.errors import ExportError
from export.graph.builder import Ops, Value
from export.graph.node import Node
from export.graph.prune import prune
from export.graph.shape_folding import Folder
from export.graph.window import explicit
from export.lowering import lower
from export.model import Model
from export.passes import optimize
from export.training import depthwise_product as toeplitz
from export.transforms.batch_norm import is_training

IR_VERSION = 8
"""What the oldest supported runtime reads; the graphs need nothing newer."""


@dataclass(frozen=True)
class Placed:
    """What a model computes, where it was placed.

    heads: logits (n, K), the main head first. updates: parameter -> its next value, for what the forward
    pass itself moves. noise: mask input -> probability that it keeps an element.
    """

    heads: tuple[Value, ...]
    embedding: Value | None
    updates: dict[Value, Value] = field(default_factory=dict)
    noise: dict[Value, float] = field(default_factory=dict)


def declare(op: Ops, model: Model) -> None:
    """Declare the model's parameters as inputs and its constants as constants."""
    for name, value in model.parameters.items():
        op.argument(names.PARAMETER + name, value.dtype, value.shape)
    for name, value in model.constants.items():
        op.name_constant("constant/" + name, value)


def place(op: Ops, model: Model, rows: Value, *, training: bool = False, logits: bool = True) -> Placed:
    """Append the model's nodes, rewritten by `export.passes`, reading `rows`.

    training: normalize by the batch and drop out where the model's nodes say so; otherwise both are
    as in inference. logits: insist that the model's heads give such.

    Raises:
        ExportError: the model gives no logits, or its batch size is fixed inside.
    """
    rename = {model.input: rows, "": ""}
    rename |= {name: names.PARAMETER + name for name in model.parameters}
    rename |= {name: "constant/" + name for name in model.constants}
    placed, folder = Placed((), None), Folder(op, model.exported_batch)
    for node in optimize(model.nodes, model.outputs):
        rename |= {made: "model/" + made for made in node.output if made}
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(rename[x] for x in node.input)
        copy.output.extend(rename[y] for y in node.output)
        copy.name = node.name or node.output[0]
        if folder.visit(copy):
            continue
        if copy.op_type == "Reshape":
            folder.reshape(copy)
        if (special := SPECIAL.get(node.op_type)) is not None:
            special(op, copy, placed, training)
        else:
            op.append(copy)
    heads = tuple(rename[head] for head in (model.output, *model.heads))
    for head in heads if logits else ():
        _must_be_logits(op, model, head)
    embedding = None if model.embedding is None else rename[model.embedding]
    return Placed(heads, embedding, placed.updates, placed.noise)


def sample_shape(model: Model, value: Value) -> tuple[int, ...]:
    """Dimensions of one sample of a value that the model computes."""
    op = Ops(model.opset)
    op.argument("x", np.float32, ["N", *model.shape])
    declare(op, model)
    shown = replace(model, heads=(), embedding=value)
    placed = place(op, shown, "x", logits=False)
    assert placed.embedding is not None
    return op.sample(placed.embedding)


def _must_be_logits(op: Ops, model: Model, head: Value) -> None:
    shape = op.shape(head)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ExportError(f"model '{model.name}' must give logits (batch, classes); it gives {list(shape)}")
    if shape[0] is not None:
        raise ExportError(
            f"model '{model.name}' fixes its batch at {shape[0]} inside; export it with a symbolic batch axis"
        )


def _batch_normalization(op: Ops, node: onnx.NodeProto, placed: Placed, training: bool) -> None:
    """While training, momentum 0 makes the node itself say the batch's mean and variance.

    ONNX Runtime writes them over the running statistics it is given, inputs of the graph included (1.17 to
    1.31): it is given throw-away values that nobody else reads, each node its own, which no two nodes share
    even where a model applies one normalization twice.
    """
    del node.output[1:]
    if not is_training(node):
        op.append(node)
        return
    view = Node(op, node, [])
    momentum, epsilon = view.attr("momentum", 0.9), view.attr("epsilon", 1e-5)
    del node.attribute[:]
    node.attribute.append(helper.make_attribute("epsilon", epsilon))
    if not training:
        op.append(node)
        return
    node.attribute.append(helper.make_attribute("training_mode", 1))
    node.attribute.append(helper.make_attribute("momentum", 0.0))
    statistics = list(node.input[3:5])
    measured = [op.fresh("mean"), op.fresh("variance")]
    apart = 2.0 + sum(n.op_type == "BatchNormalization" for n in op.nodes)
    node.input[3:5] = [op("Mul", running, op.like(running, apart)) for running in statistics]
    node.output.extend(measured)
    op.append(node)
    for running, now in zip(statistics, measured, strict=True):
        op.assume(now, running)
        kept = op("Mul", placed.updates.get(running, running), op.like(running, momentum))
        placed.updates[running] = op("Add", kept, op("Mul", now, op.like(now, 1 - momentum)))


def _dropout(op: Ops, node: onnx.NodeProto, placed: Placed, training: bool) -> None:
    """While training, a product with a mask that is a run-time input: 0, or 1 / the share that is kept."""
    X, Y = node.input[0], node.output[0]
    ratio, mode = (op.constants.get(node.input[i]) if len(node.input) > i and node.input[i] else None for i in (1, 2))
    if not training or mode is None or not mode.any():
        op.append(helper.make_node("Identity", [X], [Y], name=node.name))
        return
    mask = op.argument(names.NOISE + node.name, op.dtype(X), ["rows", *op.sample(X)])
    placed.noise[mask] = 1 - (0.5 if ratio is None else float(ratio))
    op.append(helper.make_node("Mul", [X, mask], [Y], name=node.name))


def _pool(op: Ops, node: onnx.NodeProto, placed: Placed, training: bool) -> None:
    explicit(op, node)
    op.append(node)


def _recurrent(op: Ops, node: onnx.NodeProto, placed: Placed, training: bool) -> None:
    """Its gradient reads the states of all steps, which need a name even where nobody else asks for them."""
    if not node.output[0]:
        node.output[0] = op.fresh("states")
    op.append(node)


def _layer_normalization(op: Ops, node: onnx.NodeProto, placed: Placed, training: bool) -> None:
    """While training its statistics are named, so that the gradient can read them."""
    if training and len(node.output) == 1:
        node.output.extend([op.fresh("mean"), op.fresh("inverse_deviation")])
    op.append(node)


def _conv(op: Ops, node: onnx.NodeProto, placed: Placed, training: bool) -> None:
    explicit(op, node)
    if not training or not toeplitz.apply(op, node):
        op.append(node)


SPECIAL: dict[str, Callable[[Ops, onnx.NodeProto, Placed, bool], None]] = {
    "Conv": _conv,
    "ConvTranspose": _pool,
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GRU": _recurrent,
    "LSTM": _recurrent,
    "LayerNormalization": _layer_normalization,
    "BatchNormalization": _batch_normalization,
    "Dropout": _dropout,
}
"""Operators that do one thing while training and another afterwards."""


def predict(model: Model, target: str = "onnxruntime") -> onnx.ModelProto:
    """X and parameters -> logits and probabilities (n, K) of every head, and the embedding if there is one."""
    op = Ops(model.opset, target)
    op.argument("x", np.float32, ["N", *model.shape])
    declare(op, model)
    placed = place(op, model, "x")
    results: dict[str, Value] = {}
    for i, head in enumerate(placed.heads):
        results[names.head_name(names.LOGITS, i)] = head
        results[names.head_name(names.PROBABILITIES, i)] = op("Softmax", head, axis=1)
    if placed.embedding is not None:
        results[names.EMBEDDING] = placed.embedding
    return model_proto(op, "predict", ["x", *(names.PARAMETER + p for p in model.parameters)], results)


def model_proto(op: Ops, name: str, inputs: Iterable[Value], results: Mapping[str, Value]) -> onnx.ModelProto:
    """A checked model of what `op` holds; each result is renamed to its public name."""
    made = {y for node in op.nodes for y in node.output}
    for key, value in results.items():
        if value not in made:  # an input, or a result under another name already
            op.append(helper.make_node("Identity", [value], [fresh := op.fresh("result")], name=fresh))
            results = {**results, key: fresh}
        made.discard(value)
    nodes = prune(op.nodes, results.values())
    if op.target == "onnxruntime":
        nodes = lower(op, nodes)
    public = {value: key for key, value in results.items()}
    for node in nodes:
        for values in (node.input, node.output):
            values[:] = [public.get(v, v) for v in values]
    read = {x for node in nodes for x in node.input}
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_value_info(i, op.types[i]) for i in inputs],
        [helper.make_value_info(key, op.types[value]) for key, value in results.items()],
        [numpy_helper.from_array(v, k) for k, v in op.constants.items() if k in read],
    )
    model = helper.make_model(
        graph,
        producer_name="murmur",
        opset_imports=[helper.make_opsetid("", op.opset)],
        ir_version=IR_VERSION,
    )
    onnx.checker.check_model(model, full_check=True)
    return model
