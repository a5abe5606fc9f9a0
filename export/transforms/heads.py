"""Auxiliary heads and embeddings: more logits from the same features (Zhmoginov et al. 2022).

The embedding is what the last linear layer reads, unless it is named. Every head is a linear layer of its own on it,
with its own initial values.
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
    """Add auxiliary heads on the embedding.

    Args:
        model: the model.
        count: how many heads, 0 to 64.
        seed: of their initial values.

    Returns:
        The model with `count` more heads.

    Raises:
        ExportError: the count is out of range, or the model has no embedding.
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
    """Choose the model's embedding.

    Args:
        model: the model.
        name: a value or node; what the last linear layer reads if None.

    Returns:
        The model with this embedding.

    Raises:
        ExportError: no such value, or no last linear layer.
    """
    return replace(model, embedding=_last_features(model) if name is None else find(model, name, "--embedding"))


def find(model: Model, name: str, option: str) -> Value:
    """Look a value up.

    Args:
        model: the model.
        name: of a value, or of a node, which stands for its first output.
        option: the command-line option that gave the name, for messages.

    Returns:
        The value.

    Raises:
        ExportError: the model has neither.
    """
    if name in {y for node in model.nodes for y in node.output}:
        return name
    for node in model.nodes:
        if node.name == name:
            return str(node.output[0])
    some = ", ".join(list(dict.fromkeys(n.output[0] for n in model.nodes))[:12])
    raise ExportError(f"{option} {name}: the model has no such value or node; it begins with {some}")


def with_classifier(
    model: Model, features: Value, classes: int, name: str, random: np.random.Generator
) -> tuple[Model, Value]:
    """Add a linear layer on features; those of images and windows are averaged first.

    Args:
        model: the model.
        features: the value that the layer reads.
        classes: how many logits it gives.
        name: of the layer.
        random: draws the initial values, uniform in +-1/sqrt(features).

    Returns:
        The model, and the value that holds the logits.

    Raises:
        ExportError: the model has a parameter of that name already.
    """
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
    """What the layer that computes the logits reads."""
    producers = {y: node for node in model.nodes for y in node.output}
    node = producers.get(model.output)
    if node is not None and node.op_type == "Add":  # a product and its bias
        products = [producers[x] for x in node.input if x in producers]
        node = next((product for product in products if product.op_type == "MatMul"), None)
    if node is None or node.op_type not in ("Gemm", "MatMul"):
        raise ExportError("the model does not end in a linear layer; name its embedding with --embedding")
    return str(node.input[0])
