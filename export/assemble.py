"""Model + objective + optimizer -> the graphs of a bundle.

The private and the reference batch go through the model as *one* batch, their rows one under the
other, and the logits are cut apart again: half the nodes of two passes, and larger products.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

import edge.bundle as names
from edge.plugins import load
from export.autodiff import gradients
from export.errors import ExportError
from export.model import Model
from export.objectives import Rows, parse
from export.ops import Ops, Value
from export.passes import optimize
from export.prune import prune

IR_VERSION = 8
"""What the oldest supported runtime reads; the graphs need nothing newer."""


@dataclass(frozen=True)
class Training:
    """The two graphs of a bundle, and the part of its manifest that describes them."""

    train: onnx.ModelProto
    predict: onnx.ModelProto
    manifest: dict[str, Any]


def assemble(model: Model, *, objective: str = "cross_entropy", optimizer: str = "sgd") -> Training:
    """Write the training step of `model`.

    Raises:
        ExportError: an unknown term, an operator without a rule, a model that is no classifier.
        ConfigError: an unknown optimizer.
    """
    terms = parse(objective)
    update = load("export.optimizers", optimizer)
    op = Ops(model.opset)
    inputs: dict[Value, tuple[Any, tuple[int | str, ...]]] = {}

    def argument(name: Value, dtype: Any, *shape: int | str) -> Value:
        if name not in inputs:
            inputs[name] = (dtype, shape)
            op.argument(name, dtype, shape)
        return name

    # Forward: x and reference_x in one pass.
    x = argument("x", np.float32, "N", *model.shape)
    batches = {"private": x}
    if any(t.batch == "reference" for t in terms):
        batches["reference"] = argument("reference_x", np.float32, "R", *model.shape)
    declare(op, model)
    rows = op("Concat", *batches.values(), axis=0) if len(batches) > 1 else x
    logits = place(op, model, rows)
    classes = op.shape(logits)[1]
    assert classes is not None
    pieces = dict(zip(batches, _cut(op, logits, list(batches.values())), strict=True))

    # Objective and backward.
    losses = {}
    for term in terms:

        def of_batch(name: str, dtype: Any, *shape: int | str, batch: str = term.batch) -> Value:
            prefix, n = ("", "N") if batch == "private" else (f"{batch}_", "R")
            return argument(prefix + name, dtype, *(n if d == "n" else d for d in shape))

        losses[term] = term.build(op, Rows(pieces[term.batch], classes, of_batch))
    hyper = {names.WEIGHT + t.key: t.weight for t in terms} | dict(update.HYPER)
    for scalar in hyper:
        op.argument(scalar, np.float32, ())
    parameters = [names.PARAMETER + name for name in model.parameters]
    trained = [names.PARAMETER + name for name in model.parameters if model.trains(name)]
    adjoints = gradients(op, {loss: names.WEIGHT + t.key for t, loss in losses.items()}, trained)

    # Update.
    states: list[Value] = []

    def state(kind: str, like: Value | None) -> Value:
        name = names.STATE + kind + ("" if like is None else "/" + like.removeprefix(names.PARAMETER))
        states.append(op.argument(name, np.float32, () if like is None else op.shape(like)))
        return name

    after = update.build(op, adjoints, {h: h for h in hyper}, state)

    results = {names.LOSS + t.key: loss for t, loss in losses.items()}
    results[names.TOTAL] = _total(op, {losses[t]: names.WEIGHT + t.key for t in terms})
    if "labels" in inputs:
        results[names.CORRECT] = _correct(op, pieces["private"], "labels")
    results |= {names.NEXT + value: after[value] for value in [*trained, *states]}
    manifest = {
        "name": model.name,
        "shape": model.shape,
        "classes": classes,
        "objective": [t.key for t in terms],
        "optimizer": optimizer,
        "inputs": [{"name": k, "shape": s, "dtype": np.dtype(d).name} for k, (d, s) in inputs.items()],
        "hyper": hyper,
        "parameters": [
            {"name": k, "shape": v.shape, "trainable": model.trains(k)} for k, v in model.parameters.items()
        ],
        "state": [{"name": s.removeprefix(names.STATE), "shape": op.shape(s)} for s in states],
        "opset": op.opset,
        "ir_version": IR_VERSION,
    }
    train = model_proto(op, "train", [*inputs, *hyper, *parameters, *states], results)
    return Training(train, _predict(model), manifest)


def declare(op: Ops, model: Model) -> None:
    """Declare the model's parameters as inputs and its constants as constants."""
    for name, value in model.parameters.items():
        op.argument(names.PARAMETER + name, value.dtype, value.shape)
    for name, value in model.constants.items():
        op.name_constant("constant/" + name, value)


def place(op: Ops, model: Model, rows: Value) -> Value:
    """Append the model's nodes, rewritten by `export.passes`, reading `rows`; return the logits (n, K)."""
    rename = {model.input: rows, "": ""}
    rename |= {name: names.PARAMETER + name for name in model.parameters}
    rename |= {name: "constant/" + name for name in model.constants}
    for node in optimize(model.nodes, model.output):
        rename |= {made: "model/" + made for made in node.output if made}
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        del copy.input[:], copy.output[:]
        copy.input.extend(rename[x] for x in node.input)
        copy.output.extend(rename[y] for y in node.output)
        copy.name = node.name or node.output[0]
        op.append(copy)
    logits = rename[model.output]
    shape = op.shape(logits)
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ExportError(f"model '{model.name}' must give logits (batch, classes); it gives {list(shape)}")
    return logits


def _cut(op: Ops, logits: Value, batches: list[Value]) -> list[Value]:
    """The logits of each batch."""
    if len(batches) == 1:
        return [logits]
    sizes = op("Concat", *(op("Shape", b, start=0, end=1) for b in batches), axis=0)
    return [op.assume(part, logits) for part in op.all("Split", logits, sizes, outputs=len(batches), axis=0)]


def _total(op: Ops, weights: Mapping[Value, Value]) -> Value:
    """The weighted sum of the losses."""
    summands = [op("Mul", loss, weight) for loss, weight in weights.items()]
    return op("Sum", *summands)


def _correct(op: Ops, logits: Value, labels: Value) -> Value:
    """How many rows have their largest logit at the label, as a float32 scalar."""
    hits = op("Equal", op("ArgMax", logits, axis=1, keepdims=0), labels)
    return op("ReduceSum", op("Cast", hits, to=onnx.TensorProto.FLOAT), keepdims=0)


def _predict(model: Model) -> onnx.ModelProto:
    """X and parameters -> logits and probabilities (n, K)."""
    op = Ops(model.opset)
    op.argument("x", np.float32, ["N", *model.shape])
    declare(op, model)
    logits = place(op, model, "x")
    results = {names.LOGITS: logits, names.PROBABILITIES: op("Softmax", logits, axis=1)}
    return model_proto(op, "predict", ["x", *(names.PARAMETER + p for p in model.parameters)], results)


def model_proto(op: Ops, name: str, inputs: Iterable[Value], results: Mapping[str, Value]) -> onnx.ModelProto:
    """A checked model of what `op` holds; each result is renamed to its public name."""
    nodes = prune(op.nodes, results.values())
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
