"""The training and the evaluation model, written with every name of the model that they were made of."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx

from edge import bundle
from edge.ort_training.names import GRADIENT, UPDATED
from export.artifacts.facts import described
from export.artifacts.forward import Forward
from export.artifacts.losses import LOSSES, LossType, declare_target, target_name
from export.errors import ExportError
from export.graph.builder import GraphBuilder, Value
from export.graph.node import with_names
from export.graph.prune import prune
from export.training.autodiff import gradients
from export.training.placement import Placement, declare, place
from export.training.proto import model_proto

PREFIXES = (bundle.PARAMETER, "model/", "constant/")
"""what placing a model puts before its names"""


@dataclass(frozen=True)
class Loss:
    """What is minimised.

    Attributes:
        kind: None if the first of `of` is the loss.
        of: names of the output that the loss is of and, perhaps, of its target.
        additional: names of values that are given beside it.
    """

    kind: LossType | None
    of: Sequence[str]
    additional: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Graph:
    """A model placed in a graph, with its loss.

    values: what the loss and the caller read, by the model's names. results: the loss first, by public name.
    """

    op: GraphBuilder
    inputs: list[Value]
    values: dict[str, Value]
    results: dict[str, Value]
    placement: Placement


def training(forward: Forward, loss: Loss) -> onnx.ModelProto:
    """Write the training model.

    Args:
        forward: the model.
        loss: what is minimised.

    Returns:
        The user's inputs, masks of Dropout and parameters -> the loss, additional values, a gradient for each trained
        parameter, and the next running statistics.

    Raises:
        ExportError: it cannot be differentiated, or has no scalar loss.
        LookupError: the model has no value of a name that the loss asks for.
    """
    graph = _placed(forward, loss, training=True)
    op, model = graph.op, forward.model
    trained = [bundle.PARAMETER + name for name in model.parameters if model.trains(name)]
    root = next(iter(graph.results.values()))
    reached = {x for node in prune(op.nodes, [root]) for x in node.input}
    if missing := [name.removeprefix(bundle.PARAMETER) for name in trained if name not in reached]:
        raise ExportError(f"the loss does not depend on {', '.join(missing)}: leave it out of requires_grad")
    adjoints = gradients(op, {root: op.const(np.ones([size or 1 for size in op.shape(root)]), op.dtype(root))}, trained)
    moved = graph.placement.updates
    results = {name.removeprefix(bundle.PARAMETER) + GRADIENT: value for name, value in adjoints.items()}
    results |= {UPDATED + name.removeprefix(bundle.PARAMETER): value for name, value in moved.items()}
    facts = {
        "inputs": graph.inputs,
        "outputs": list(graph.results),
        "noise": graph.placement.noise,
        "statistics": [name.removeprefix(bundle.PARAMETER) for name in moved],
    }
    inputs = [*graph.inputs, *graph.placement.noise, *(bundle.PARAMETER + name for name in model.parameters)]
    return described(_with_own_names(model_proto(op, "training", inputs, graph.results | results)), facts)


def evaluation(forward: Forward, loss: Loss) -> onnx.ModelProto:
    """Write the evaluation model; Dropout does nothing in it, and running statistics are used.

    Args:
        forward: the model.
        loss: what is computed.

    Returns:
        The user's inputs and parameters -> the loss and additional values. Every value has a type, so that the part
        that computes it can be taken out.

    Raises:
        ExportError: it has no scalar loss.
        LookupError: the model has no value of a name that the loss asks for.
    """
    graph = _placed(forward, loss, training=False)
    hidden = {name: value for name, value in graph.values.items() if name not in graph.results}
    inputs = [*graph.inputs, *(bundle.PARAMETER + name for name in forward.model.parameters)]
    proto = _with_own_names(model_proto(graph.op, "eval", inputs, graph.results | hidden))
    outputs = {o.name: o for o in proto.graph.output}
    proto = onnx.shape_inference.infer_shapes(proto)
    del proto.graph.output[:]
    proto.graph.output.extend(outputs[name] for name in graph.results)
    typed = {v.name for v in proto.graph.value_info}
    proto.graph.value_info.extend(outputs[name] for name in hidden if name not in typed)
    return described(proto, {"inputs": graph.inputs, "outputs": list(graph.results), "noise": {}, "statistics": []})


def _placed(forward: Forward, loss: Loss, *, training: bool) -> _Graph:
    model = forward.model
    target = () if loss.kind is None else (target_name(loss.kind),)
    computed = {y for node in model.nodes for y in node.output}
    wanted = dict.fromkeys((*forward.outputs, *loss.additional, *loss.of, *target))
    kept = [name for name in wanted if name in computed]
    if not kept:
        raise ExportError("the model computes none of its outputs")
    op = GraphBuilder(model.opset, forward.names)
    for value in forward.inputs:
        op.types[value.name] = value.type
    declare(op, model)
    rows = {i.name: i.name for i in forward.inputs}
    placement = place(op, replace(model, output=kept[0], heads=tuple(kept[1:])), rows, training=training, logits=False)
    values = dict(zip(kept, placement.heads, strict=True))
    for name in loss.additional:
        if name not in values:
            raise LookupError(f"The provided name {name} is not a graph value info or a graph output.")
    public = "loss" if "loss" not in forward.names else op.fresh("loss")
    known, inputs = rows | values, list(rows)
    results = _loss(op, loss, known, inputs, public) | {name: values[name] for name in loss.additional}
    return _Graph(op, inputs, values, results, placement)


def _loss(op: GraphBuilder, loss: Loss, known: dict[str, Value], inputs: list[Value], public: str) -> dict[str, Value]:
    """The loss by its public name; a target that the model does not have becomes another input."""
    name, *rest = loss.of
    if name not in known:
        raise LookupError(f"Could not find input or output with name {name}")
    if loss.kind is None:
        if any(size != 1 for size in op.shape(known[name])):
            raise ExportError(
                f"loss=None means that '{name}' is the loss; it is {list(op.shape(known[name]))}, no scalar"
            )
        return {name: known[name]}
    if len(rest) > 1:
        raise ExportError(
            f"{loss.kind.name} takes an output and a target; the model gives {', '.join(loss.of)}: name one or two "
            "with loss_input_names"
        )
    target = rest[0] if rest else target_name(loss.kind)
    if target not in known:
        known[target] = declare_target(op, loss.kind, known[name], target)
        inputs.append(target)
    return {public: LOSSES[loss.kind](op, known[name], known[target])}


def _with_own_names(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the prefixes of its names, none of which any other value has (`GraphBuilder.reserved`)."""
    graph = proto.graph
    values = {i.name for i in (*graph.input, *graph.output, *graph.initializer)}
    values |= {y for node in graph.node for y in node.output}
    own = {name: _own(name, PREFIXES) for name in values}
    nodes = [with_names(node, own) for node in graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = own[value.name]
    onnx.checker.check_model(proto)
    return proto


def _own(name: str, prefixes: Iterable[str]) -> str:
    return next((name.removeprefix(prefix) for prefix in prefixes if name.startswith(prefix)), name)
