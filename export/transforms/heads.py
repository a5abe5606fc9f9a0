"""Auxiliary heads and embeddings: more logits from the same features (Zhmoginov et al. 2022).

The embedding is what the last linear layer reads, unless it is named; every head is a linear layer of its
own on it, with its own starting values.
"""

from dataclasses import replace
from math import prod, sqrt

import numpy as np
import onnx
from onnx import helper

from export.errors import ExportError
from export.graph.builder import Array, Value
from export.model import Model
from export.training.placement import sample_shape


def add(model: Model, count: int, *, seed: int = 0) -> Model:
    """The model with `count` auxiliary heads on its embedding.

    Raises:
        ExportError: a count out of range, or no embedding to be found.
    """
    if not 0 <= count <= 64:
        raise ExportError(f"--heads {count}: expected 0 to 64 auxiliary heads")
    if not count:
        return model
    model = model if model.embedding else embed(model, None)
    assert model.embedding is not None
    (classes,) = sample_shape(model, model.output)
    random = np.random.default_rng([seed, count])
    for i in range(1, count + 1):
        model, logits = with_classifier(model, model.embedding, classes, f"head{i}", random)
        model = replace(model, heads=(*model.heads, logits))
    return model


def embed(model: Model, name: str | None) -> Model:
    """The model with an embedding: the value or node called `name`, or what the last linear layer reads."""
    return replace(model, embedding=_last_features(model) if name is None else find(model, name, "--embedding"))


def find(model: Model, name: str, option: str) -> Value:
    """The value called `name`, or the first output of the node of that name."""
    made = {y for node in model.nodes for y in node.output}
    if name in made:
        return name
    for node in model.nodes:
        if node.name == name:
            return str(node.output[0])
    some = ", ".join(list(dict.fromkeys(n.output[0] for n in model.nodes))[:12])
    raise ExportError(f"{option} {name}: the model has no such value or node; it begins with {some}")


def with_classifier(
    model: Model, features: Value, classes: int, name: str, random: np.random.Generator
) -> tuple[Model, Value]:
    """The model with a linear layer on `features`, and its logits; images and windows are averaged first."""
    shape = sample_shape(model, features)
    nodes: list[onnx.NodeProto] = []
    x = features
    if len(shape) > 1:
        nodes.append(helper.make_node("GlobalAveragePool", [x], [f"{name}/pooled"], name=f"{name}/pool"))
        nodes.append(helper.make_node("Flatten", [f"{name}/pooled"], [f"{name}/features"], name=f"{name}/flatten"))
        x, shape = f"{name}/features", shape[:1]
    bound = 1 / sqrt(prod(shape))

    def uniform(*size: int) -> Array:
        return random.uniform(-bound, bound, size).astype(np.float32)

    parameters = {f"{name}.weight": uniform(classes, shape[0]), f"{name}.bias": uniform(classes)}
    if taken := parameters.keys() & model.parameters.keys():
        raise ExportError(f"the model has a parameter '{taken.pop()}' already; it cannot be given another")
    logits = f"{name}/logits"
    nodes.append(helper.make_node("Gemm", [x, *parameters], [logits], name=name, transB=1))
    trainable = None if model.trainable is None else model.trainable | parameters.keys()
    return replace(
        model,
        nodes=(*model.nodes, *nodes),
        parameters={**model.parameters, **parameters},
        trainable=trainable,
    ), logits


def _last_features(model: Model) -> Value:
    """What the layer that makes the logits reads."""
    made = {y: node for node in model.nodes for y in node.output}
    node = made.get(model.output)
    if node is not None and node.op_type == "Add":  # a product and its bias
        node = next((made[x] for x in node.input if x in made and made[x].op_type == "MatMul"), None)
    if node is None or node.op_type not in ("Gemm", "MatMul"):
        raise ExportError("the model does not end in a linear layer; name its embedding with --embedding")
    return str(node.input[0])
